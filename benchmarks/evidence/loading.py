"""Reads and checks params.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.evidence import EVIDENCE
from benchmarks.evidence.protocol import Protocol
from benchmarks.evidence.runs import Run, chains, students
from src.foundation.errors import UserError

PARAMS = EVIDENCE / "params.yaml"


def load(path: Path = PARAMS) -> Protocol:
    """Return the protocol.

    Raises:
        UserError: it cannot be read, has an unknown key or a wrong type, or names what it does not define.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Protocol), OmegaConf.load(path))
        protocol: Any = OmegaConf.to_object(merged)
    except (OSError, OmegaConfBaseException) as error:
        raise UserError(f"{path.name} of the evidence: {' '.join(str(error).split())}") from error
    faults = list(_faults(protocol))
    if faults:
        raise UserError("\n".join(f"{path.name} of the evidence: {fault}" for fault in faults))
    return protocol


def _faults(protocol: Protocol) -> Iterator[str]:
    for name, group in protocol.runs.items():
        yield from (f"runs.{name}: {data} is not in datasets" for data in group.data if data not in protocol.datasets)
        yield from (f"runs.{name}: {one} is not in variants" for one in group.variant if one not in protocol.variants)
    yield from (
        f"predictions: {data} is not in datasets" for data in protocol.predictions if data not in protocol.datasets
    )
    for run in students(protocol):
        variant = protocol.variants.get(str(run.variant))
        if variant is not None and variant.reads_predictions and run.data not in protocol.predictions:
            yield f"runs: {run.name} reads predictions, which are not asked for on {run.data}"
    in_chains = {data for chain in protocol.chains.values() for data in chain.data}
    yield from (
        f"latency.data: {one} is in no group of chains" for one in protocol.latency.data if one not in in_chains
    )
    for name, chain in protocol.chains.items():
        yield from (f"chains.{name}: {one} is not in after" for one in chain.after if one not in protocol.after)
    for run in chains(protocol):
        if Run("student", run.data, run.variant, seed=run.seed) not in students(protocol):
            yield f"chains: {run.name} needs {run.variant}-{run.seed} of {run.data}, which is in no group of runs"
    yield from _faults_of_tuning(protocol)
    known = {f"{run.variant}/{run.after}" for run in chains(protocol)}
    for number, shown in enumerate(protocol.chain_tables):
        yield from (
            f"chain_tables.{number}: {one} is in no group of chains"
            for one in (shown.control, *shown.rows)
            if one not in known
        )
    for index, table in enumerate(protocol.tables):
        if table.group not in protocol.runs:
            yield f"tables.{index}: {table.group} is not in runs"
            continue
        trained = {(run.data, run.variant) for run in students(protocol)}
        for variant in (table.control, *table.variants):
            for data in protocol.runs[table.group].data:
                if (data, variant) not in trained:
                    yield f"tables.{index}: {variant} of {data} is in no group of runs"
    chosen = {"sealed.variants": protocol.sealed.variants, "all_labels": [protocol.all_labels]}
    for key, variants in chosen.items():
        yield from (f"{key}: {one} is not in variants" for one in variants if one not in protocol.variants)
    yield from (
        f"sealed.data: {one} is not in datasets" for one in protocol.sealed.data if one not in protocol.datasets
    )
    for name, dataset in protocol.datasets.items():
        if dataset.part_of is not None and dataset.part_of not in protocol.datasets:
            yield f"datasets.{name}.part_of: {dataset.part_of} is not in datasets"
    seen: dict[str, str] = {}
    for named in protocol.runs:
        for run in students(protocol, named):
            if seen.setdefault(run.name, named) != named:
                yield f"runs: {run.name} is in {seen[run.name]} and in {named}"


def _faults_of_tuning(protocol: Protocol) -> Iterator[str]:
    tuning = protocol.tuning
    yield from (f"tuning.data: {one} is not in datasets" for one in tuning.data if one not in protocol.datasets)
    yield from (f"tuning.method: {one} is not in tuning.methods" for one in tuning.method if one not in tuning.methods)
    tries = {name: len(method.tries) for name, method in tuning.methods.items()}
    if len(set(tries.values())) > 1:
        yield f"tuning.methods: all must have the same number of tries, found {tries}"
    for name, method in tuning.methods.items():
        if method.variant not in protocol.variants:
            yield f"tuning.methods.{name}: {method.variant} is not in variants"
    for run in students(protocol):
        if run.seed == tuning.seed:
            yield f"tuning.seed: {run.name} has it, too: choose another one"
        method = protocol.variants[run.variant].tuned if run.variant in protocol.variants else None
        if method is not None and (run.data not in tuning.data or method not in tuning.method):
            yield f"runs: {run.name} is tuned by {method}, which tuning does not ask for on {run.data}"
