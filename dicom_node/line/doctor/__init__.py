"""Everything that a support engineer asks for, looked at in one go; nothing is changed."""

from dicom_node.line.doctor.bundle import write_bundle
from dicom_node.line.doctor.checked import Checked, Wanted
from dicom_node.line.doctor.examination import Examined, examine

__all__ = ["Checked", "Examined", "Wanted", "examine", "write_bundle"]
