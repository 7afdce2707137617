// Plays every scene with the official Node SDK and prints what it saw, one JSON line a scene.
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

for (const prompt of ["stop", "length"]) {
  for (const include_usage of [true, false]) {
    const messages = [{ role: "user", content: prompt }];
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage },
    });
    let text = "";
    let finish = null;
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    console.log(JSON.stringify({ prompt, include_usage, text, finish, usage }));
  }
}

// The helper is the strictest reader of the order of chunks that there is.
const helper = client.chat.completions.stream({
  model,
  messages: [{ role: "user", content: "stop" }],
});
const completion = await helper.finalChatCompletion();
console.log(JSON.stringify({ helper: completion.choices[0].message.content }));

const whole = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "length" }],
});
const [choice] = whole.choices;
console.log(
  JSON.stringify({
    whole: choice.message.content,
    finish: choice.finish_reason,
    tokens: whole.usage.total_tokens,
  }),
);

try {
  await client.chat.completions.create({ model: "nobody", messages: [{ role: "user", content: "" }] });
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, code: error.code }));
}
