// Asks for every scene over one WebSocket with the official Node SDK, each before the one ahead of
// it is answered, and prints what it saw, one JSON line an answer.
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";

const [baseURL, model, prompts] = process.argv.slice(2);
const asked = [...JSON.parse(prompts), "none"];
const socket = new ResponsesWS(new OpenAI({ baseURL, apiKey: "unused" }));
for (const input of asked) {
  const previous = input === "none" ? { previous_response_id: "resp_none" } : {};
  socket.send({ type: "response.create", model, input, store: false, ...previous });
}

let deltas = "";
let answers = 0;
for await (const { type, message, error } of socket.stream()) {
  if (type === "error") {
    console.log(JSON.stringify({ code: error.error?.error?.code ?? error.error?.code }));
    answers += 1;
  } else if (type === "message" && message.type === "response.output_text.delta") {
    deltas += message.delta;
  } else if (type === "message" && message.response && message.response.status !== "in_progress") {
    console.log(JSON.stringify({ deltas, status: message.response.status }));
    deltas = "";
    answers += 1;
  }
  if (answers === asked.length) socket.close();
}
