"""The DICOM Conformance Statement as a function of the code and of a configuration (PS3.2)."""

from dicom_node.conformance.statement import statement

__all__ = ["statement"]
