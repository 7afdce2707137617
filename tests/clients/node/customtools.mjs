// Runs a custom tool on the Responses API with the official Node SDK, or with the AI SDK, and prints
// what it was given and what was said at the end.
const [baseURL, model, by] = process.argv.slice(2);
const given = [];
const description = "Edits files.";
const format = { type: "grammar", syntax: "lark", definition: "start: /.+/" };

const byOpenai = async () => {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
  const tools = [{ type: "custom", name: "patch", description, format }];
  const ask = (input, previous_response_id) =>
    client.responses.stream({ model, tools, input, previous_response_id }).finalResponse();
  let response = await ask("Begin.");
  let calls;
  while ((calls = response.output.filter((item) => item.type === "custom_tool_call")).length) {
    const outputs = calls.map(({ call_id, input }) => {
      given.push(input);
      return { type: "custom_tool_call_output", call_id, output: "patched" };
    });
    response = await ask(outputs, response.id);
  }
  return response.output_text;
};

const byAiSdk = async () => {
  const { createOpenAI } = await import("@ai-sdk/openai");
  const { stepCountIs, streamText } = await import("ai");
  const openai = createOpenAI({ baseURL, apiKey: "unused" });
  const patch = openai.tools.customTool({
    name: "patch",
    description,
    format,
    execute: (input) => {
      given.push(input);
      return "patched";
    },
  });
  const result = streamText({
    model: openai.responses(model),
    prompt: "Begin.",
    tools: { patch },
    stopWhen: stepCountIs(3),
    maxRetries: 0,
  });
  return await result.text;
};

const text = await (by === "openai" ? byOpenai() : byAiSdk());
console.log(JSON.stringify({ given, text }));
