// Has the official Node SDK run functions, and prints what it saw, one JSON line a conversation.
import OpenAI from "openai";

const [baseURL, model, cities] = process.argv.slice(2);
const weather = JSON.parse(cities);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
};
const name = "get_weather";
const messages = [{ role: "user", content: "weather" }];

// The runners call the function, bring its results and ask again, until there is an answer.
for (const stream of [false, true]) {
  const asked = [];
  const get_weather = ({ city }) => {
    asked.push(city);
    return String(weather[city]);
  };
  const runner = client.chat.completions.runTools({
    model,
    messages,
    stream,
    tools: [
      {
        type: "function",
        function: { name, function: get_weather, parse: JSON.parse, parameters },
      },
    ],
  });
  const text = await runner.finalContent();
  const steps = runner.allChatCompletions().map((step) => step.choices[0].finish_reason);
  console.log(JSON.stringify({ text, asked, steps }));
}

// The helper tells of calls while they come, and is the strictest reader of their order.
const helper = client.chat.completions.stream({
  model,
  messages,
  tools: [{ type: "function", function: { name, parameters } }],
});
const done = [];
helper.on("tool_calls.function.arguments.done", (call) =>
  done.push([call.index, call.name, call.arguments]),
);
const { choices } = await helper.finalChatCompletion();
const called = choices[0].message.tool_calls.map((call) => [call.id, call.function.arguments]);
console.log(JSON.stringify({ text: choices[0].message.content, done, called }));
