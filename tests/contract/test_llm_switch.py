"""The official client before, in and after a switch, over two real models; and a pod that dies in the middle of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from contracts.names import ENV_LLM_API_KEY, ENV_LLM_OWN_API_KEY
from contracts.stages import Stage
from tests.contract import llama_server
from tests.contract.orchestrated import Orchestrated, environment, orchestrated

pytestmark = pytest.mark.contract

MODEL = llama_server.MODEL
KEYS = {ENV_LLM_API_KEY: llama_server.API_KEY, ENV_LLM_OWN_API_KEY: llama_server.API_KEY}
TOOL = {
    "type": "function",
    "function": {
        "name": "place_order",
        "parameters": {
            "type": "object",
            "properties": {"side": {"type": "string", "enum": ["buy", "sell"]}},
            "required": ["side"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "side", "schema": {"enum": ["buy", "sell"]}}}


@pytest.fixture(scope="module", params=["llama", "vllm"])
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two servers with the same model: what answers the hosted API, and what we run ourselves. A vLLM is both."""
    if request.param == "vllm":
        url = request.getfixturevalue("vllm")
        yield {"hosted": url, "vllm": url}
        return
    parts = request.getfixturevalue("parts")
    with (
        llama_server.llama(parts, tmp_path_factory.mktemp("llama-hosted")) as hosted,
        llama_server.llama(parts, tmp_path_factory.mktemp("llama-own")) as own,
    ):
        yield {"hosted": hosted, "vllm": own}


@pytest.fixture
def made(sides: dict[str, str]) -> Iterator[Orchestrated]:
    with orchestrated(environment(sides, MODEL, KEYS), Stage.SHADOW, sample=20.0) as one:
        yield one


def asking(made: Orchestrated) -> openai.OpenAI:
    return openai.OpenAI(base_url=made.url, api_key="unused", max_retries=0)


def ask(client: openai.OpenAI, model: str, text: str = "Say hello.", **more: Any) -> Any:
    """One call, whose answer depends on nothing that was asked before it."""
    body = {"max_tokens": 4, "temperature": 0, "seed": 7, "extra_body": {"cache_prompt": False}, **more}
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **body)


def seen_by_a_client(client: openai.OpenAI, model: str) -> dict[str, Any]:
    """What the API gives, in all its ways."""
    plain = ask(client, model)
    stopped = ask(client, model, stop=["e"])
    likely = ask(client, model, logprobs=True, top_logprobs=2, max_tokens=1).choices[0].logprobs.content
    formed = ask(client, model, response_format=SCHEMA, max_tokens=8)
    call = ask(client, model, "Buy it.", tools=[TOOL], tool_choice="required").choices[0].message
    with ask(client, model, stream=True, stream_options={"include_usage": True}) as chunks:
        parts = list(chunks)
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, model, temperature="hot")
    return {
        "plain": (plain.choices[0].message.content, plain.choices[0].finish_reason, plain.usage.completion_tokens),
        "stopped": (stopped.choices[0].message.content, stopped.choices[0].finish_reason),
        "likely": [(one.token, len(one.top_logprobs)) for one in likely],
        "formed": json.loads(formed.choices[0].message.content),
        # A server whose template knows no tools answers in words; then both sides do.
        "called": [(one.function.name, one.function.arguments) for one in call.tool_calls or ()] or call.content,
        "streamed": "".join(c.delta.content or "" for part in parts for c in part.choices),
        "usage": [part.usage.completion_tokens for part in parts if part.usage is not None],
        "refused": (type(refused.value).__name__, refused.value.type),
    }


def test_the_client_sees_the_same_before_in_and_after_a_switch(made: Orchestrated, sides: dict[str, str]) -> None:
    with openai.OpenAI(base_url=sides["hosted"], api_key=llama_server.API_KEY, max_retries=0) as direct:
        expected = seen_by_a_client(direct, MODEL)
    assert expected["plain"][0] == expected["streamed"]
    assert expected["formed"] in ("buy", "sell")
    with asking(made) as client:
        assert seen_by_a_client(client, "default") == expected
        made.set(Stage.SCALE, share=50, sample=20.0)
        assert seen_by_a_client(client, "default") == expected
        made.set(Stage.SCALE)
        assert seen_by_a_client(client, "trading") == expected
    # The request that our own models refuse was put to the hosted side as well, which could have taken it.
    status = made.record(3, hosted__calls="1").status
    assert status["vllm.errors"] == status["hosted.errors"] == "0"


def test_streams_end_where_they_began_whichever_way_the_route_turns(made: Orchestrated) -> None:
    with asking(made) as client:
        expected = [one.choices[0].delta.content for one in ask(client, "default", stream=True, max_tokens=24)]
        begun = ask(client, "default", stream=True, max_tokens=24)
        got = [next(begun).choices[0].delta.content]
        made.set(Stage.SCALE)
        assert ask(client, "default").choices[0].message.content
        back = ask(client, "default", stream=True, max_tokens=24)
        came_back = [next(back).choices[0].delta.content]
        made.set(Stage.SHADOW)
        got += [one.choices[0].delta.content for one in begun]
        came_back += [one.choices[0].delta.content for one in back]
    assert got == came_back == expected


def process_of(url: str) -> int:
    """The process that a test here started to listen at `url`."""
    port = url.split(":")[2].split("/", maxsplit=1)[0]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if "--port" in words and words[words.index("--port") + 1] == port and MODEL in words:
            return int(path.parent.name)
    raise AssertionError(f"nobody listens at {url}")


@pytest.mark.parametrize("sides", ["llama"], indirect=True)
def test_a_pod_that_is_killed_in_the_middle_costs_its_stream_and_nothing_else(
    made: Orchestrated, sides: dict[str, str]
) -> None:
    """The last test here: the server does not come back."""
    made.set(Stage.SCALE)
    with asking(made) as client:
        stream = ask(client, "default", stream=True, max_tokens=240)
        next(stream)
        os.kill(process_of(sides["vllm"]), signal.SIGKILL)
        with pytest.raises(openai.APIError) as broken:
            list(stream)
        assert broken.value.code == "provider_unavailable"
        answer = client.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "Say hello."}], max_tokens=4
        )
        assert answer.headers["x-crossover-backend"] == "hosted"
        # The way back needs nothing of the dead side.
        made.set(Stage.SHADOW)
        assert ask(client, "default").choices[0].message.content
