"""What a FLOP costs on a named device: hours and money.

Peaks are the makers' figures for dense matrix products in the precision named; utilisation is the
share of it that training reaches, as measured here on small policies (CPU) or as commonly
reported (GPUs). Prices are round on-demand figures, in US dollars per hour, and change: pass your
own with `price_per_hour` and `utilisation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from isoclone.base.errors import SpecError, UnknownNameError


@dataclass(frozen=True)
class Device:
    """A device's speed and price."""

    name: str
    peak_flops: float  # FLOP per second
    utilisation: float  # share of the peak, 0 to 1
    price_per_hour: float  # US dollars
    note: str = ""

    def seconds(self, flops: float) -> float:
        """Return the seconds to spend `flops` FLOPs."""
        return flops / (self.peak_flops * self.utilisation)

    def hours(self, flops: float) -> float:
        """Return the hours to spend `flops` FLOPs."""
        return self.seconds(flops) / 3600

    def cost(self, flops: float) -> float:
        """Return US dollars to spend `flops` FLOPs."""
        return self.hours(flops) * self.price_per_hour


DEVICES = {
    d.name: d
    for d in (
        Device("cpu-core", 7.1e10, 0.4, 0.04, "one core, fp32, measured GEMM peak"),
        Device("rtx-4090", 1.65e14, 0.3, 0.5, "fp16, dense"),
        Device("a100", 3.12e14, 0.35, 2.0, "bf16, dense"),
        Device("h100", 9.9e14, 0.35, 3.0, "bf16, dense"),
    )
}


def device(
    name: str, utilisation: float | None = None, price_per_hour: float | None = None
) -> Device:
    """Return a device by name, with the user's own figures where given.

    Raises `UnknownNameError` for a name not in `DEVICES`, `SpecError` for impossible figures.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, list(DEVICES))
    found = DEVICES[name]
    if utilisation is not None:
        if not 0 < utilisation <= 1:
            raise SpecError(f"utilisation is a share, above 0 and at most 1; got {utilisation}")
        found = replace(found, utilisation=utilisation)
    if price_per_hour is not None:
        if not 0 <= price_per_hour < 1e9:
            raise SpecError(f"price_per_hour must not be negative; got {price_per_hour}")
        found = replace(found, price_per_hour=price_per_hour)
    return found
