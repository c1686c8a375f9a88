"""What every file of these tests imports, without what none needs."""

from expo_bench.trainers.libraries import without_vllm

without_vllm()
