"""dicom-node: receives chest radiographs over DICOM, analyses them and answers the sending AE."""

__version__ = "0.1.0"
