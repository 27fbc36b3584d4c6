"""The node's configuration: read, checked with every fault named, and watched."""

from dicom_node.settings.load import Configuration, configuration_folder, load_configuration
from dicom_node.settings.model import Remote, Settings, SuiteSection
from dicom_node.settings.remotes import find_remote
from dicom_node.settings.values import host_and_port
from dicom_node.settings.watch import RemotesTable

__all__ = [
    "Configuration",
    "Remote",
    "RemotesTable",
    "Settings",
    "SuiteSection",
    "configuration_folder",
    "find_remote",
    "host_and_port",
    "load_configuration",
]
