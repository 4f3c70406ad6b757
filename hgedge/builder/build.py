"""Model to bundle: export, calibrate, quantise, build the engine, measure it against FP32."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hgedge
from hgedge import backends, device, records
from hgedge.builder import calibration, half_precision
from hgedge.builder.budget import Verdict, max_drop_of, within_budget
from hgedge.builder.network import Network, network_of
from hgedge.builder.options import BuildOptions, BuildReport
from hgedge.bundle import MANIFEST, engine_of, open_bundle, read_manifest, seal
from hgedge.errors import BackendUnavailable, ConfigError, EngineMismatch, KernelError
from hgedge.progress import Progress, no_progress
from hgedge.runtime.golden import GOLDEN, Golden, check_finite, measure
from hgedge.spec import FORMAT_VERSION, BackendInfo, CalibrationInfo, DecodeSpec, Manifest, ModelInfo
from hgedge.staging import resealed, staged

log = logging.getLogger(__name__)


def build(options: BuildOptions, progress: Progress = no_progress) -> BuildReport:
    """Build a bundle, or find that it is there already.

    Args:
        options: What to build.
        progress: Told about the steps.

    Raises:
        HgedgeError: An option, the model, the calibration or the machine does not allow it; nothing is left behind.
    """
    started = time.monotonic()
    backend = _backend(options)
    network = network_of(options)
    source = calibration.find(options, network)
    asked, max_drop, verdict = source, max_drop_of(options), None
    if max_drop is not None and backend is not None:
        options, source, verdict = within_budget(max_drop, options, network, backend, source, progress)
    digest = _digest(options, network, backend, asked)
    target = options.output / bundle_name(options, network, backend)
    if (target / MANIFEST).exists() and not options.force:
        return _reuse(target, digest, verdict)
    if target.exists() and not options.force:
        raise ConfigError(f"{target} is in the way: it exists and is no bundle; use --force or another --output")
    with staged(target, options.force) as folder:
        work = Work(options, network, backend, digest, folder, progress, verdict)
        manifest = work.make(source)
    seconds = {**work.seconds, "total": round(time.monotonic() - started, 3)}
    return _report(target, manifest, seconds, verdict)


def bundle_name(options: BuildOptions, network: Network, backend: str | None) -> str:
    """`<model>-<precision>-<backend>`, then what is not default."""
    parts = [network.name, options.precision, backend or "portable"]
    if options.precision == "int8":
        placement, float_groups = assignment(options, network)
        parts += [placement] * (placement != "stream") + ["mixed"] * bool(float_groups)
    parts += network.suffixes
    parts += [network.decode.refinement] * (network.decode.refinement != DecodeSpec.refinement)
    if options.batch != (1,):
        parts.append("b" + "-".join(map(str, options.batch)))
    parts += [word.lstrip("-").replace(",", "-") for word in options.engine_options.arguments]
    return "-".join(parts)


def assignment(options: BuildOptions, network: Network) -> tuple[str, tuple[str, ...]]:
    """The placement of an INT8 build, and the groups that stay float: what is asked for, else the network's own."""
    placement, float_groups = network.assignment
    asked = float_groups if options.float_groups is None else options.float_groups
    return options.placement or placement, tuple(sorted(set(asked)))


@dataclass
class Work:
    """One build in its temporary folder."""

    options: BuildOptions
    network: Network
    backend: str | None
    digest: str
    folder: Path
    progress: Progress
    verdict: Verdict | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def make(self, source: calibration.CalibrationSet | calibration.CalibrationTable | None) -> Manifest:
        """Write every file of the bundle; returns the sealed manifest."""
        with self.step("export"):
            graph = self.network.graph()
            golden = self.network.golden()
            (self.folder / "source.onnx").write_bytes(graph.SerializeToString(deterministic=True))
            check_finite(golden.fp32_heatmaps)
        info, quantised = self.quantise(graph, source)
        kept = self.kept_in_float(graph, quantised, golden, source)
        if self.backend is not None:
            quantised = backends.rendered(self.backend, quantised, self.options.precision, kept or ())
        (self.folder / "model.onnx").write_bytes(quantised.SerializeToString(deterministic=True))
        manifest = dataclasses.replace(self.manifest(graph, quantised, info), kept_fp32=kept)
        if self.backend is not None:
            with self.step("build"):
                backends.builder(self.backend).build(self.folder, manifest, self.network.checkpoint, self.progress)
                manifest, golden = self.measure(self.backend, manifest, golden)
        golden.save(self.folder / GOLDEN)
        return seal(self.folder, manifest)

    def quantise(
        self, graph: Any, source: calibration.CalibrationSet | calibration.CalibrationTable | None
    ) -> tuple[CalibrationInfo | None, Any]:
        """The graph in the precision asked for, and where its ranges come from."""
        if source is None or self.options.precision != "int8":
            return None, graph
        from hgedge.quantization.groups import nodes_of
        from hgedge.quantization.insert_qdq import quantize
        from hgedge.quantization.ranges import naming_version, save_table, table_key

        placement, float_groups = assignment(self.options, self.network)
        nodes_of(graph, float_groups)  # a wrong name is told before the work
        with self.step("calibrate"):
            key = table_key(self.network.sha256, self.network.input, naming_version(graph))
            table = calibration.ranges_for(source, key, graph, self.network.input, self.progress)
        with self.step("quantize"):
            unsigned = self.backend is not None and backends.builder(self.backend).UNSIGNED_AFTER_RELU
            quantised = quantize(graph, table, placement, unsigned, float_groups)
            save_table(table, self.folder / "calibration.json")
        return CalibrationInfo(table.method, table.images, table.digest, placement, float_groups), quantised

    def kept_in_float(
        self,
        graph: Any,
        quantised: Any,
        golden: Golden,
        source: calibration.CalibrationSet | calibration.CalibrationTable | None,
    ) -> tuple[str, ...] | None:
        """The layers that FP16 has no room for; None where nothing is FP16."""
        if not half_precision.holds_half(self.options.precision, self.backend):
            return None
        with self.step("calibrate"):
            return half_precision.kept_in_float(graph, quantised, self.network, golden, source, self.progress)

    def manifest(self, graph: Any, quantised: Any, info: CalibrationInfo | None) -> Manifest:
        """The manifest of what is being built, not measured yet."""
        from hgedge.export.statistics import gmacs, num_convs
        from hgedge.quantization.insert_qdq import num_int8_convs

        network, backend = self.network, self.backend
        return Manifest(
            hgedge_version=hgedge.__version__,
            measured=False,
            model=ModelInfo(
                network.name, network.sha256, network.num_stacks, network.parameters, round(gmacs(graph), 4)
            ),
            precision=self.options.precision,
            backend=BackendInfo(backend, backends.builder(backend).version()) if backend else None,
            device=backends.device_for(backend, self.options.engine_options) if backend else None,
            input=network.input,
            keypoints=network.keypoints,
            decode=network.decode,
            digest=self.digest,
            num_convs=num_convs(graph),
            num_convs_int8=num_int8_convs(quantised),
            calibration=info,
            batch=self.options.batch,
            engine_options=self.options.engine_options,
        )

    def measure(self, backend: str, manifest: Manifest, golden: Golden) -> tuple[Manifest, Golden]:
        """Run the new engine on the golden inputs, if this machine can; of FP16, simulate what its arithmetic gives."""
        if manifest.precision == "fp16":
            found = half_precision.simulated_agreement(self.folder, seal(self.folder, manifest), golden)
            manifest = dataclasses.replace(manifest, simulated_agreement=found)
        reason = backends.why_not_here(backend)
        if reason is not None:
            log.warning("the engine is not measured: %s", reason)
            return manifest, golden
        try:
            return self.measured_here(backend, manifest, golden)
        except (BackendUnavailable, EngineMismatch, KernelError) as error:
            if not getattr(backends.builder(backend), "FOR_OTHER_GPUS", False):
                raise
            log.warning("the engine is not measured: %s", error)
            return manifest, golden

    def measured_here(self, backend: str, manifest: Manifest, golden: Golden) -> tuple[Manifest, Golden]:
        """Run the new engine on the golden inputs, and on the people of a budget."""
        session = backends.sessions(backend).load(self.folder, seal(self.folder, manifest))
        try:
            if self.verdict is not None:
                manifest = self.verdict.judged(session, manifest)
            return measure(session, manifest, golden)
        finally:
            session.close()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step of the build, and tell of it."""
        log.info("%s", name)
        self.progress(name, 0, 1)
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)
        self.progress(name, 1, 1)


def _backend(options: BuildOptions) -> str | None:
    """The backend to build for, if it can; None for a portable half."""
    asked = options.engine_options.arguments
    if asked and not options.engine:
        raise ConfigError(f"{asked[0]} is of an engine, but --no-engine makes none; leave one of them out")
    if not options.engine and options.backend == "auto":
        return None
    name = backends.choose(options.backend)
    if not options.engine:
        return None
    backends.builder(name).check(options.precision, device.cpu())
    backends.check_options(name, options.engine_options, options.precision)
    return name


def _digest(
    options: BuildOptions,
    network: Network,
    backend: str | None,
    source: calibration.CalibrationSet | calibration.CalibrationTable | None,
) -> str:
    """sha256 over everything that decides what is built; a budget only decides whether it is."""
    decides = {
        "format": FORMAT_VERSION,
        "hgedge": hgedge.__version__,
        "weights": network.sha256,
        "num_stacks": network.num_stacks,
        "input": records.to_mapping(network.input),
        "keypoints": network.keypoints.names,
        "decode": records.to_mapping(network.decode),
        "precision": options.precision,
        "assignment": assignment(options, network) if options.precision == "int8" else None,
        "calibration": source.digest() if source else None,
        "batch": options.batch,
        "backend": [backend, backends.builder(backend).version()] if backend else None,
        "device": records.to_mapping(backends.device_for(backend, options.engine_options)) if backend else None,
        **({"engine_options": asked} if (asked := options.engine_options.arguments) else {}),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _reuse(target: Path, digest: str, verdict: Verdict | None) -> BuildReport:
    """The report of a bundle that is there already; a verdict on its engine is noted in it.

    Raises:
        ConfigError: It is another one under the same name.
        BudgetExceeded: Its engine loses more than the budget.
    """
    if read_manifest(target).digest != digest:
        raise ConfigError(
            f"{target} holds a bundle built from other weights, ranges, options or versions; "
            "replace it with --force, or choose another --output"
        )
    manifest = open_bundle(target)
    if verdict is not None and not verdict.noted_in(manifest):
        session = backends.sessions(engine_of(target, manifest)[0].name).load(target, manifest)
        try:
            judged = verdict.judged(session, manifest)
        finally:
            session.close()
        manifest = resealed(target, judged, {})
    return _report(target, manifest, {"total": 0.0}, verdict, reused=True)


def _report(
    target: Path, manifest: Manifest, seconds: dict[str, float], verdict: Verdict | None, reused: bool = False
) -> BuildReport:
    steps = ("export", "calibrate", "quantize", "build", "total")
    return BuildReport(
        bundle=target,
        precision=manifest.precision,
        backend=manifest.backend.name if manifest.backend else "none",
        seconds={step: seconds.get(step, 0.0) for step in steps},
        num_convs=manifest.num_convs,
        num_convs_int8=manifest.num_convs_int8,
        agreement=manifest.agreement,
        simulated_agreement=manifest.simulated_agreement,
        kept_fp32=manifest.kept_fp32,
        drop=manifest.drop,
        budget=manifest.budget,
        tried=verdict.tried if verdict else None,
        reused=reused,
    )
