"""The engine on vLLM, offline: one process that owns the model, on GPUs or on the CPU build.

Each sample is one vLLM request with its own seed; vLLM's prefix cache shares the prompt among them. A few more requests
than fit in a batch are handed over at a time, and completions are yielded step by step, so a kill loses little.
"""

import importlib.metadata
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expo_bench.config import EngineSpec
from expo_bench.engines.base import Completion, Gauge, Request, SamplingParams, Scored, ScoreRequest
from expo_bench.engines.digest import text_digest, weights_digest
from expo_bench.engines.loading import base_of, check_hub, find_model
from expo_bench.engines.rendering import prompt_ids
from expo_bench.engines.vllm.adapters import adapter_options, load_adapter
from expo_bench.engines.vllm.errors import load_failure, short_reason, step, watch
from expo_bench.engines.vllm.options import check_early, cpu_dtype, resolved
from expo_bench.engines.vllm.scoring import MOST_LISTED, score
from expo_bench.engines.vocabulary import OwnTokenizer
from expo_bench.errors import UserError, install
from expo_bench.rows import FinishReason

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


class VllmEngine(OwnTokenizer):
    """Samples from a model that vLLM serves in this process."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load the model; a folder of low-rank adapters is served as such, on the model that they belong to.

        `engine_options` are handed to `vllm.LLM` as they are, over this engine's defaults.

        Raises:
            UserError: vLLM is not installed, refuses an option, or cannot load the model or the adapters.
        """
        options: dict[str, Any] = spec.engine_options
        template = spec.template
        check_early(options)
        self._name = spec.model
        self._files = find_model(spec.model, spec.revision)
        if self._files.gguf_file:
            raise UserError(f"the vllm engine does not read GGUF files: use --engine transformers for {spec.model}")
        check_hub(self._files)
        self._base = base_of(self._files)
        if self._base:
            options = {**adapter_options(self._files), **options}
        self._vllm, self._on_cpu = _import_vllm()
        self._llm = self._load(spec.dtype, resolved(self._vllm, options, on_cpu=self._on_cpu))
        watch(self._llm.llm_engine)
        self._adapter = load_adapter(self._llm.llm_engine, self._files) if self._base else None
        self._tokenizer = self._llm.get_tokenizer()
        if template is not None:
            self._tokenizer.chat_template = template
        self._enable_thinking = spec.enable_thinking
        self._options = options
        self._config = self._llm.llm_engine.vllm_config
        # enough that the batch is full again at the next step, few enough that a million samples need no memory
        self._window = 2 * int(self._config.scheduler_config.max_num_seqs)
        self._numbers = itertools.count()
        self.gauge = Gauge()

    def _load(self, dtype: str, options: dict[str, Any]) -> Any:
        files = self._base or self._files
        if self._on_cpu:
            dtype = cpu_dtype(files, dtype)
        own_tokenizer = Path(self._files.path, "tokenizer_config.json").is_file()
        try:
            with standard_output_to_error():
                return self._vllm.LLM(
                    model=files.path,
                    tokenizer=self._files.path if own_tokenizer else files.path,
                    revision=files.revision,
                    tokenizer_revision=None if own_tokenizer else files.revision,
                    dtype=dtype,
                    logprobs_mode="raw_logprobs",
                    **options,
                )
        # a worker process that dies is told as a bare Exception, a machine that is too small as an AssertionError
        except Exception as error:
            raise load_failure(self._name, error) from error

    def generate(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Completion]:
        """Yield completions as they finish; see `base.Generator.generate`."""
        if self._on_cpu and self._config.speculative_config and params.temperature > 0:
            # seen with ngram: the texts are far less likely under the policy than those drawn without it
            raise UserError(
                "engine_options.speculative_config: on the CPU vLLM then does not sample from the policy; "
                "leave it out, or decode greedily (temperature 0)"
            )
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
                        prompt = {"type": "token", "prompt_token_ids": ids}
                        engine.add_request(number, prompt, sampling, lora_request=self._adapter)
                    except ValueError as error:
                        yield Completion.failed(*key, short_reason(error))
                    else:
                        running[number] = key
                if not running:
                    return
                ended = [output for output in step(engine) if output.finished]
                self._read_gauge()
                for output in ended:
                    yield _completion(running.pop(output.request_id), output.outputs[0])
        finally:
            self.gauge.running = self.gauge.tokens = 0
            if running:
                engine.abort_request(list(running))

    def _read_gauge(self) -> None:
        lengths = [
            state.detokenizer.num_output_tokens()
            for state in self._llm.llm_engine.output_processor.request_states.values()
        ]
        # those of length 0 wait inside vLLM
        self.gauge.running, self.gauge.tokens = sum(map(bool, lengths)), sum(lengths)

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
            raise UserError(f"vLLM refuses the sampling parameters: {short_reason(error)}") from error

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Scored]:
        """Yield the log-probabilities of all continuations, without entropies; see `base.Scorer.score`."""

        def sampling(listed: int) -> Any:
            return self._vllm.SamplingParams(
                temperature=0.0,
                max_tokens=1,
                # 0: the prompt's own tokens and no other
                prompt_logprobs=listed,
                flat_logprobs=True,
                detokenize=False,
                output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
            )

        most = self._config.model_config.max_logprobs
        return score(
            self._llm.llm_engine,
            self._tokenizer,
            requests,
            sampling,
            enable_thinking=self._enable_thinking,
            context=self._config.model_config.max_model_len,
            window=self._window,
            listed=MOST_LISTED if most < 0 else min(MOST_LISTED, most),
            vocabulary=lambda: self._vocabulary,
            adapter=self._adapter,
        )

    def describe(self) -> dict[str, Any]:
        """Return what the manifest records."""
        model, split = self._config.model_config, self._config.parallel_config
        guesses = self._config.speculative_config
        return {
            "name": self._name,
            "revision": self._files.revision or getattr(model.hf_config, "_commit_hash", None),
            "adapter_of": self._base.path if self._base else None,
            "weights_digest": weights_digest(self._files.path, self._files.revision),
            "chat_template_digest": text_digest(self._tokenizer.chat_template or ""),
            "engine": "vllm",
            "engine_version": self._vllm.__version__,
            "torch_version": importlib.metadata.version("torch"),
            "dtype": str(model.dtype).removeprefix("torch."),
            "max_model_len": model.max_model_len,
            "quantization": model.quantization,
            "tensor_parallel_size": split.tensor_parallel_size,
            "pipeline_parallel_size": split.pipeline_parallel_size,
            "prefix_caching": bool(self._config.cache_config.enable_prefix_caching),
            "speculation": guesses.method if guesses else None,
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
        raise UserError(f"vLLM cannot be imported ({short_reason(error)}): {install('vllm')}") from error
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
        return Completion.failed(*key, f"vLLM ended the request: {output.finish_reason}")
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
