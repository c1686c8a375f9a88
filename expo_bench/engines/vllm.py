"""The engine on vLLM, offline: one process that owns the model, on GPUs or on the CPU build.

Each sample is one vLLM request with its own seed; vLLM's prefix cache shares the prompt among them. A few more requests
than fit in a batch are handed over at a time, and completions are yielded step by step, so a kill loses little.
"""

import importlib.metadata
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expo_bench.engines.base import Completion, Request, SamplingParams, Scored, ScoreRequest
from expo_bench.engines.digest import text_digest, weights_digest
from expo_bench.engines.loading import find_model
from expo_bench.engines.rendering import chain_ids, prompt_ids
from expo_bench.engines.vllm_scoring import score
from expo_bench.errors import UserError
from expo_bench.rows import FinishReason

# what the engine sets itself: `sum_logprob` needs the raw mode, and a checkpoint's own code is never run
_RESERVED = {"model", "tokenizer", "revision", "tokenizer_revision", "dtype", "trust_remote_code", "logprobs_mode"}
_DEFAULTS: dict[str, Any] = {"enable_prefix_caching": True, "load_format": "safetensors"}
_CPU_DEFAULTS: dict[str, Any] = {
    "enforce_eager": True,
    # a seeded request whose prefill is cut in two makes vLLM 0.32 rewind its generator, which a CPU generator cannot do
    "enable_chunked_prefill": False,
    # only whole blocks are shared: the CPU default of 128 tokens is longer than most prompts
    "block_size": 32,
    # with the scheduler in this process (see _CPU_ENVIRONMENT) vLLM would else leave one thread to the model
    "distributed_executor_backend": "mp",
}
_ENVIRONMENT = {
    # standard output belongs to --json
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
_CPU_ENVIRONMENT = {
    # GiB; vLLM's own default is nearly all memory
    "VLLM_CPU_KVCACHE_SPACE": "4",
    # batches then depend on nothing but the requests, so that a seed gives the same text again
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_Key = tuple[str, int]


def usable() -> bool:
    """Tell whether vLLM is installed and this machine has what its build runs on; imports nothing heavy."""
    if importlib.util.find_spec("vllm") is None:
        return False
    return _is_cpu_build() or any(Path(device).exists() for device in _ACCELERATORS)


def _is_cpu_build() -> bool:
    try:
        return "cpu" in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return any("cpu" in name for name in importlib.metadata.packages_distributions().get("vllm", ()))


class VllmEngine:
    """Samples from a model that vLLM serves in this process."""

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        chat_template: str | None = None,
        enable_thinking: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: `micro`, a folder with safetensors, or a hub id.
            revision: of the hub's repository.
            dtype: "auto" (the checkpoint's, half precision for float32), "bfloat16", "float16" or "float32".
            chat_template: a template in place of the tokenizer's own.
            enable_thinking: handed to the chat template where not None.
            options: handed to `vllm.LLM` as they are, over this engine's defaults.

        Raises:
            UserError: vLLM is not installed, refuses an option, or cannot load the model.
        """
        options = options or {}
        if clash := _RESERVED & set(options):
            raise UserError(f"engine_options.{min(clash)} cannot be set: this engine sets it from what it is given")
        self._name = model
        self._files = find_model(model, revision)
        if self._files.gguf_file:
            raise UserError(f"the vllm engine does not read GGUF files: use --engine transformers for {model}")
        self._vllm, on_cpu = _import_vllm()
        self._llm = self._load(dtype, {**_DEFAULTS, **(_CPU_DEFAULTS if on_cpu else {}), **options})
        self._tokenizer = self._llm.get_tokenizer()
        if chat_template is not None:
            self._tokenizer.chat_template = chat_template
        self._enable_thinking = enable_thinking
        self._options = dict(options)
        self._config = self._llm.llm_engine.vllm_config
        # enough that the batch is full again at the next step, few enough that a million samples need no memory
        self._window = 2 * int(self._config.scheduler_config.max_num_seqs)
        self._numbers = itertools.count()

    def _load(self, dtype: str, options: dict[str, Any]) -> Any:
        revision = self._files.revision
        try:
            with standard_output_to_error():
                return self._vllm.LLM(
                    model=self._files.path,
                    revision=revision,
                    tokenizer_revision=revision,
                    dtype=dtype,
                    logprobs_mode="raw_logprobs",
                    **options,
                )
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            raise UserError(f"vLLM cannot load {self._name}: {_first_line(error)}") from error

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        engine = self._llm.llm_engine
        waiting = self._samples(requests, params)
        running: dict[str, _Key] = {}
        try:
            while True:
                for key, ids, sampling in itertools.islice(waiting, self._window - len(running)):
                    number = str(next(self._numbers))
                    try:
                        if isinstance(sampling, str):
                            raise ValueError(sampling)
                        engine.add_request(number, {"type": "token", "prompt_token_ids": ids}, sampling)
                    except ValueError as error:
                        yield _failed(key, _first_line(error))
                    else:
                        running[number] = key
                if not running:
                    return
                for output in engine.step():
                    if output.finished:
                        yield _completion(running.pop(output.request_id), output.outputs[0])
        finally:
            if running:
                engine.abort_request(list(running))

    def _samples(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[_Key, list[int], Any]]:
        """Yield each sample's key, prompt ids and vLLM parameters, or in their place why it cannot be drawn."""
        context = self._config.model_config.max_model_len
        for request in requests:
            ids = prompt_ids(self._tokenizer, request, self._enable_thinking)
            room = min(params.max_tokens, context - len(ids))
            for index, seed in zip(request.sample_indexes, request.seeds, strict=True):
                key = (request.problem_id, index)
                if room < 1:
                    yield key, ids, f"the prompt has {len(ids)} tokens, the model's context {context}"
                else:
                    yield key, ids, self._sampling(params, room, seed)

    def _sampling(self, params: SamplingParams, max_tokens: int, seed: int) -> Any:
        try:
            return self._vllm.SamplingParams(
                temperature=params.temperature,
                top_p=params.top_p,
                max_tokens=max_tokens,
                stop=list(params.stop),
                seed=seed,
                # 0: the sampled token's own and no other
                logprobs=0,
                flat_logprobs=True,
                output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
            )
        except ValueError as error:
            raise UserError(f"vLLM refuses the sampling parameters: {_first_line(error)}") from error

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text that follows a prompt; see `rendering.chain_ids`."""
        return chain_ids(self._tokenizer, text)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the log-probabilities of all continuations, without entropies; see `base.Scorer.score`."""
        sampling = self._vllm.SamplingParams(
            temperature=0.0,
            max_tokens=1,
            # 0: the prompt's own tokens and no other
            prompt_logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )
        return score(
            self._llm.llm_engine,
            self._tokenizer,
            requests,
            sampling,
            enable_thinking=self._enable_thinking,
            context=self._config.model_config.max_model_len,
            window=self._window,
        )

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records."""
        model = self._config.model_config
        return {
            "name": self._name,
            "revision": self._files.revision or getattr(model.hf_config, "_commit_hash", None),
            "weights_digest": weights_digest(self._files.path, self._files.revision),
            "chat_template_digest": text_digest(self._tokenizer.chat_template or ""),
            "engine": "vllm",
            "engine_version": self._vllm.__version__,
            "torch_version": importlib.metadata.version("torch"),
            "dtype": str(model.dtype).removeprefix("torch."),
            "max_model_len": model.max_model_len,
            "engine_options": {name: repr(value) for name, value in sorted(self._options.items())},
        }

    def close(self) -> None:
        """End vLLM's processes and free the model."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm


def _import_vllm() -> tuple[Any, bool]:
    """Return the module, and whether it runs on the CPU; variables that the user set are left alone."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with standard_output_to_error():
            import vllm
            from vllm.platforms import current_platform
    except ImportError as error:
        raise UserError(f"vLLM cannot be imported ({_first_line(error)}): pip install 'expo-bench[vllm]'") from error
    on_cpu = bool(current_platform.is_cpu())
    for name, value in _CPU_ENVIRONMENT.items() if on_cpu else ():
        os.environ.setdefault(name, value)
    return vllm, on_cpu


@contextmanager
def standard_output_to_error() -> Iterator[None]:
    """Send file descriptor 1 to 2 for a while: compiled libraries and worker processes write there by themselves."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def _completion(key: _Key, output: Any) -> Completion:
    reasons: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
    if output.finish_reason not in reasons:
        return _failed(key, f"vLLM ended the request: {output.finish_reason}")
    token_ids = tuple(output.token_ids)
    return Completion(
        problem_id=key[0],
        sample_index=key[1],
        text=output.text,
        token_ids=token_ids,
        n_tokens=len(token_ids),
        finish_reason=reasons[output.finish_reason],
        sum_logprob=output.cumulative_logprob,
    )


def _failed(key: _Key, reason: str) -> Completion:
    return Completion(
        problem_id=key[0],
        sample_index=key[1],
        text="",
        token_ids=None,
        n_tokens=0,
        finish_reason="error",
        sum_logprob=None,
        error=reason,
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
