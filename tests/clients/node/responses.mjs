// Plays every scene on the Responses API with the official Node SDK, and prints what it saw, one
// JSON line a scene.
import OpenAI from "openai";
import { makeParseableTextFormat } from "openai/lib/parser";

const [baseURL, model, cities] = process.argv.slice(2);
const weather = JSON.parse(cities);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

const told = (response) => ({
  text: response.output.map((item) => item.content[0].text).join(""),
  status: response.status,
  reason: response.incomplete_details?.reason ?? null,
  tokens: response.usage.total_tokens,
});

for (const input of ["stop", "length"]) {
  let deltas = "";
  let last = null;
  for await (const event of await client.responses.create({ model, input, stream: true })) {
    if (event.type === "response.output_text.delta") deltas += event.delta;
    last = event;
  }
  console.log(JSON.stringify({ input, deltas, ...told(last.response) }));

  // The helper is the strictest reader of the order of events that there is.
  const final = await client.responses.stream({ model, input }).finalResponse();
  console.log(JSON.stringify({ input, deltas: final.output_text, ...told(final) }));
}

// What a helper for a schema library hands to the SDK, without the library.
const person = { type: "json_schema", name: "person", strict: true, schema: { type: "object" } };
const parsed = await client.responses.parse({
  model,
  input: "person",
  text: { format: makeParseableTextFormat(person, JSON.parse) },
});
console.log(JSON.stringify({ parsed: parsed.output_parsed }));

const tools = [
  {
    type: "function",
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
    strict: false,
  },
];
const steps = [
  (asked) => client.responses.create({ model, tools, ...asked }),
  (asked) => client.responses.stream({ model, tools, ...asked }).finalResponse(),
];
for (const step of steps) {
  const rounds = [];
  let response = await step({ input: "weather" });
  let calls;
  while ((calls = response.output.filter((item) => item.type === "function_call")).length) {
    rounds.push(calls.map((call) => [call.call_id, JSON.parse(call.arguments).city]));
    const input = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: String(weather[JSON.parse(call.arguments).city]),
    }));
    response = await step({ input, previous_response_id: response.id });
  }
  console.log(JSON.stringify({ rounds, text: response.output_text }));
}

try {
  await client.responses.create({ model, input: "stop", previous_response_id: "resp_none" });
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, code: error.code }));
}
