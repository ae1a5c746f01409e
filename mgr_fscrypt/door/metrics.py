"""What monitoring reads: `ceph fscrypt metrics`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeText
from .desk import Desk


class MetricsCommands(Desk):
    """Metrics."""

    @Command("fscrypt metrics", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def tell_metrics(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print metrics in the text format of Prometheus"""
        return self.reply_at_once(self.metrics.measure, format)
