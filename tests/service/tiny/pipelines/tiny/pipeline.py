"""An ingest as small as they come."""

from pathlib import Path

import xarray as xr
from tsdat import IngestPipeline


class Tiny(IngestPipeline):
    """One variable, and one ancillary file beside the data."""

    def run(self, inputs, **kwargs):
        """Skip what asks for it, as pipelines do that have nothing to say about a file."""
        if any(Path(file).read_bytes().startswith(b"#! skip") for file in inputs):
            return None
        return super().run(inputs, **kwargs)

    def hook_plot_dataset(self, dataset: xr.Dataset) -> None:
        """Write a text where others plot."""
        if dataset.attrs.get("dataset_name") == "plain":
            return
        with self.storage.uploadable_dir() as folder:
            path = self.get_ancillary_filepath("summary", "txt", dataset=dataset, root_dir=folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{float(dataset.x.mean())}\n")
        if float(dataset.x[0]) == -99:
            raise RuntimeError("no plot for this")
