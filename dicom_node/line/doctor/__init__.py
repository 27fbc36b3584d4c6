"""Everything that a support engineer asks for, looked at in one go; nothing is changed."""

from dicom_node.line.doctor.bundle import write_bundle
from dicom_node.line.doctor.checked import Checked, MoreChecks
from dicom_node.line.doctor.examination import AskedLedger, Examined, examine

__all__ = ["AskedLedger", "Checked", "Examined", "MoreChecks", "examine", "write_bundle"]
