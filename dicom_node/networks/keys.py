"""Which networks exist, by the key that a manifest or recipe names; nothing is loaded for it.

There are no dotted paths and no stored architectures.
"""

KEYS = (
    "chest-gate",
    "covidnet-pyramid",
    "opacity-map",
    "opacity-zones",
    "opacity-extent",
    "covidnet",
    "covidnet-lite",
    "covidnet-cxr-s",
    "covidnet-s",
    "covidnet-vlad",
    "lung-unet",
    "resnet50",
    "chexnet",
)
