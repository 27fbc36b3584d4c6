"""The transfer syntaxes whose pixels this node can decode (PS3.5 section 10, PS3.6 annex A).

Values only, no codec: the receiving process offers these and decodes nothing. Deflated is not
among them: a megabyte of it can unfold into gigabytes before anything can be checked.
"""

from __future__ import annotations

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
HTJ2K = "1.2.840.10008.1.2.4.203"

NATIVE = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN)
"""Pixel Data as plain samples."""

JPEG_FAMILY = (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS, JPEG_EXTENDED, JPEG_BASELINE)
"""ISO/IEC 10918-1: DCT with 8 and 12 bits, and the lossless process with every predictor."""

JPEG_LS_FAMILY = (JPEG_LS_LOSSLESS, JPEG_LS_NEAR_LOSSLESS)
"""ISO/IEC 14495-1."""

JPEG_2000_FAMILY = (JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, JPEG_2000, HTJ2K)
"""ISO/IEC 15444-1 and 15444-15."""

LOSSY = frozenset({JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR_LOSSLESS, JPEG_2000, HTJ2K})
"""Decoded values may overshoot Bits Stored: they are clipped, where lossless ones are masked."""

SUPPORTED_TRANSFER_SYNTAXES = (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_LS_LOSSLESS,
    JPEG_2000_LOSSLESS,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_LOSSLESS_SV1,
    JPEG_LOSSLESS,
    RLE_LOSSLESS,
    JPEG_2000,
    HTJ2K,
    JPEG_LS_NEAR_LOSSLESS,
    JPEG_EXTENDED,
    JPEG_BASELINE,
    EXPLICIT_BIG_ENDIAN,
)
"""In order of preference: plain first, then lossless, then lossy, the retired big endian last."""
