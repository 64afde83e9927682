"""Options that all networks share."""

from __future__ import annotations

from pydantic import Field

from crossview.core.table import Table


class NetworkOptions(Table):
    """Keys of [network] that every network has."""

    name: str
    filters: int = Field(
        16, ge=1, le=4096, description="width of the first level, doubled at each further level"
    )
    levels: int = Field(5, ge=2, le=8, description="resolutions, including the full one")

    @property
    def widths(self) -> list[int]:
        """Return the number of features of each level, full resolution first."""
        return [self.filters * 2**level for level in range(self.levels)]
