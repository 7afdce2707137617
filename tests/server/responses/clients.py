"""What clients send to `/v1/responses` if they are left to themselves."""

from typing import Any

FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
STRICT = {"strict": True}
CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city":"Paris"}',
}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
QUESTION = {"role": "user", "content": "Weather in Paris?"}
SCHEMA = {"type": "object", "properties": {}, "$schema": "http://json-schema.org/draft-07/schema#"}

REQUESTS: dict[str, dict[str, Any]] = {
    "openai": {"input": "hi"},
    "openai parse": {
        "input": [QUESTION],
        "text": {
            "format": {"type": "json_schema", "name": "Answer", "strict": True, "schema": SCHEMA}
        },
    },
    "langchain": {
        "input": [
            {"type": "message", "role": "system", "content": "Be brief."},
            {"type": "message"} | QUESTION,
            CALL | {"id": "fc_1", "status": "completed"},
            RESULT,
        ],
        "stream": True,
        "tools": [FUNCTION],
    },
    "langchain.js": {
        "input": [{"type": "message"} | QUESTION],
        "stream": True,
        "text": {},
        "tools": [FUNCTION | {"strict": None, "parameters": SCHEMA}],
    },
    "llama-index": {
        "input": [QUESTION],
        "include": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": None,
        "previous_response_id": None,
        "user": None,
        "store": False,
        "temperature": 0.1,
        "truncation": "disabled",
        "top_p": 1,
        "tools": [],
    },
    "pydantic-ai": {
        "input": [QUESTION, CALL, RESULT],
        "include": ["reasoning.encrypted_content"],
        "tools": [FUNCTION | STRICT],
        "tool_choice": "auto",
        "max_output_tokens": 4096,
    },
    "instructor": {
        "input": [QUESTION],
        "tools": [FUNCTION | STRICT],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "text": {"format": {"type": "json_schema", "name": "get_weather", "schema": SCHEMA}},
    },
    "openai-agents": {
        "input": [QUESTION, CALL | {"id": "fc_1", "status": "completed"}, RESULT],
        "instructions": "Be brief.",
        "include": [],
        "tools": [],
        "reasoning": {"effort": "none"},
        "text": {"verbosity": "low"},
        "stream": True,
    },
    "openai-agents.js": {
        "input": [
            QUESTION,
            CALL | {"id": "fc_1", "status": "completed"},
            RESULT | {"output": [{"type": "input_text", "text": "sunny"}], "status": "completed"},
        ],
        "instructions": "Be brief.",
        "include": [],
        "stream": False,
        "stream_options": {"include_usage": True},
        "tools": [FUNCTION | STRICT],
    },
    "ai sdk": {
        "input": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
            {"type": "item_reference", "id": "fc_1"},
            RESULT,
        ],
        "stream": True,
        "tool_choice": "auto",
        "tools": [FUNCTION | {"strict": False}],
    },
    "ai sdk, stateless": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "e", "summary": []},
            CALL | {"id": "fc_1"},
            RESULT,
        ],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    },
    "llm": {
        "input": [QUESTION, {"role": "assistant", "content": "Sunny."}, QUESTION],
        "store": False,
        "stream": True,
    },
    "strands": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
        "stream": True,
        "tools": [],
    },
    "agno": {"input": [QUESTION], "reasoning": {}, "stream": True},
    "codex": {
        "instructions": "",
        "input": [
            {
                "type": "message",
                "id": "msg_1",
                "role": "developer",
                "content": [{"type": "input_text", "text": "<permissions>"}],
            },
            {
                "type": "message",
                "id": "msg_2",
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None}
            | {"encrypted_content": "e"},
            CALL | {"id": "fc_1"},
            RESULT | {"id": "fco_1"},
        ],
        "tools": [
            FUNCTION | {"name": "exec_command", "strict": False},
            FUNCTION | {"name": "write_stdin", "strict": False},
            FUNCTION | {"name": "update_plan", "strict": False},
            FUNCTION | {"name": "request_user_input", "strict": False},
            {
                "type": "custom",
                "name": "apply_patch",
                "description": "Edits files.",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
            },
            {"type": "web_search", "external_web_access": False},
            FUNCTION | {"name": "view_image", "strict": False},
            {
                "type": "namespace",
                "name": "multi_agent_v1",
                "description": "Agents.",
                "tools": [FUNCTION | {"name": "spawn_agent"}],
            },
            {"type": "image_generation", "output_format": "png"},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199",
        "client_metadata": {"session_id": "0199"},
    },
}
"""By client. Source: what each of them sent to a server that wrote it down."""
