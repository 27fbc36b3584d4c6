"""The museum's table: what was met, where it was reported, how it is made, what must happen."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from tests.museum.exhibit import Exhibit
from tests.museum.film import Film, element
from tests.museum.streams import streams


def put(name: str, vr: str, value: bytes) -> Callable[[Film], Film]:
    return lambda film: film.put(name, vr, value)


def text(**values: bytes | str) -> Callable[[Film], Film]:
    return lambda film: film.text(**values)


def _values() -> list[Exhibit]:
    """Optional values that cannot be read are as if absent."""
    commas = "dcmjs-org/dcmjs#287, pydicom/pydicom#173: a decimal comma"
    broken = "DIAGNijmegen/rse-grand-challenge#1374 and neighbours: a value that is no number"
    made = [
        ("window centre with a comma", commas, {"WindowCenter": "2048,5"}),
        ("window width with a comma", commas, {"WindowWidth": "4096,0"}),
        ("window in brackets", broken, {"WindowCenter": "[02048, 02048]"}),
        ("window width in brackets", broken, {"WindowWidth": "[4096]"}),
        ("window that is text", broken, {"WindowCenter": "AUTO", "WindowWidth": "AUTO"}),
        ("window without a width", broken, {"WindowWidth": ""}),
        ("window of not a number", broken, {"WindowCenter": "NaN", "WindowWidth": "inf"}),
        ("window beyond a float", broken, {"WindowWidth": "1e400"}),
        ("slope with a comma", commas, {"RescaleSlope": "1,0", "RescaleIntercept": "0,0"}),
        ("slope that is text", broken, {"RescaleSlope": "one"}),
        ("intercept that is text", broken, {"RescaleIntercept": "zero"}),
        ("slope of nothing", broken, {"RescaleSlope": "", "RescaleIntercept": ""}),
        ("rescale of not a number", broken, {"RescaleSlope": "NaN"}),
        ("imager spacing with a comma", commas, {"ImagerPixelSpacing": "0,143\\0,143"}),
        ("pixel spacing with a comma", commas, {"PixelSpacing": "0,143\\0,143"}),
        ("imager spacing of one value", "cornerstoneWADOImageLoader PR#28",
         {"ImagerPixelSpacing": "0.2"}),
        ("pixel spacing of one value", "cornerstoneWADOImageLoader PR#28", {"PixelSpacing": "0.2"}),
        ("pixel spacing of four values", "cornerstoneWADOImageLoader PR#28",
         {"PixelSpacing": "0.2\\0\\0.2\\0"}),
        ("pixel spacing of nought", broken, {"PixelSpacing": "0\\0"}),
        ("pixel spacing below nought", broken, {"ImagerPixelSpacing": "-0.2\\-0.2"}),
        ("pixel spacing of not a number", broken, {"ImagerPixelSpacing": "NaN\\NaN"}),
        ("pixel spacing of text", broken, {"PixelSpacing": "unknown\\unknown"}),
        ("pixel spacing half empty", broken, {"PixelSpacing": "0.2\\"}),
        ("aspect ratio with a comma", commas, {"PixelAspectRatio": "1,0\\1,0"}),
        ("aspect ratio of nought", broken, {"PixelAspectRatio": "0\\0"}),
        ("number of frames with a comma", commas, {"NumberOfFrames": "1,5"}),
        ("number of frames in words", broken, {"NumberOfFrames": "one"}),
        ("number of frames empty", broken, {"NumberOfFrames": ""}),
        ("number of frames nought", broken, {"NumberOfFrames": "0"}),
        ("instance number in letters", broken, {"InstanceNumber": "A1", "SeriesNumber": "S,1"}),
        ("age without unit", broken, {"PatientAge": "47"}),
        ("weight with a comma", commas, {"PatientWeight": "70,5", "PatientSize": "1,75"}),
        ("dates with points", "pydicom/pydicom#173 and neighbours", {
            "AcquisitionDate": "2026.03.01", "ContentDate": "2026.03.01", "StudyDate": "1.3.2026"}),
        ("dates of no month", broken, {
            "AcquisitionDate": "20261341", "ContentDate": "20261341", "StudyDate": "20261341"}),
        ("dates of text", broken, {
            "AcquisitionDate": "TODAY", "ContentDate": "", "StudyDate": "UNKNOWN"}),
        ("times of no hour", broken, {"AcquisitionTime": "256199", "ContentTime": "ab:cd"}),
        ("times with colons", broken, {"AcquisitionTime": "10:15:00", "StudyTime": "10:15"}),
        ("birth date of text", broken, {"PatientBirthDate": "UNKNOWN"}),
        ("birth date with dashes", broken, {"PatientBirthDate": "1950-01-01"}),
        ("zone of letters", broken, {"TimezoneOffsetFromUTC": "CET"}),
        ("zone of nowhere", broken, {"TimezoneOffsetFromUTC": "+9900"}),
        ("acquisition date and time of text", broken, {"AcquisitionDateTime": "yesterday"}),
        ("exposure values of text", broken, {
            "KVP": "70 kV", "ExposureTime": "1,5", "XRayTubeCurrent": "-", "Exposure": "auto"}),
        ("distances with commas", commas, {
            "DistanceSourceToDetector": "1800,0", "DistanceSourceToPatient": "1700,0"}),
        ("ratio of compression as text", broken, {"LossyImageCompressionRatio": "10:1"}),
        ("sex of another word", broken, {"PatientSex": "MALE"}),
        ("orientation of words", broken, {"PatientOrientation": "LEFT\\FOOT"}),
        ("orientation of one value", broken, {"PatientOrientation": "L"}),
        ("orientation of nothing", broken, {"PatientOrientation": "\\"}),
    ]  # fmt: skip
    made.append(("orientation of lower case", broken, {"PatientOrientation": "l\\f"}))
    return [
        Exhibit(name, source, text(**values),
                kinds=("sr", "segmentation") if "spacing" in name or "ratio" in name else ("sr",))
        for name, source, values in made
    ]  # fmt: skip


def _sequences() -> list[Exhibit]:
    """Sequences whose value is no item."""
    source = "fo-dicom/fo-dicom#1982, cornerstonejs/dicomParser#34: text where items should be"
    names = (
        "RequestAttributesSequence", "ProcedureCodeSequence", "AnatomicRegionSequence",
        "ViewCodeSequence", "VOILUTSequence", "ModalityLUTSequence", "ReferencedStudySequence",
        "OtherPatientIDsSequence", "IssuerOfPatientIDQualifiersSequence",
        "PerformedProtocolCodeSequence", "AcquisitionContextSequence", "SourceImageSequence",
        "ReferencedPerformedProcedureStepSequence", "IssuerOfAccessionNumberSequence",
        "PatientSpeciesCodeSequence", "PatientBreedCodeSequence", "SharedFunctionalGroupsSequence",
        "ReasonForRequestedProcedureCodeSequence", "PresentationLUTSequence",
    )  # fmt: skip
    odd = {
        "of text": ("SQ", b"ROUTIN"), "of nought bytes": ("SQ", bytes(6)),
        "as LO": ("LO", b"chest "), "as UN": ("UN", b"\1\2\3\4"),
        "of half an item": ("SQ", b"\xfe\xff\x00\xe0\xff\x00\x00\x00\x08\x00"),
    }  # fmt: skip
    return [
        Exhibit(f"{name} {how}", source, put(name, vr, value))
        for name in names for how, (vr, value) in odd.items()
    ]  # fmt: skip


def _numbers() -> list[Exhibit]:
    """Binary values of another length or another VR than they should have."""
    source = "pydicom/pydicom#1305 and neighbours: a value that does not fit its VR"
    made = [
        ("padding value of one byte", "PixelPaddingValue", "US", b"\1"),
        ("padding value of three bytes", "PixelPaddingValue", "US", b"\0\1\2"),
        ("padding value as text", "PixelPaddingValue", "DS", b"-1"),
        ("padding value as words", "PixelPaddingValue", "LO", b"none"),
        ("padding limit as text", "PixelPaddingRangeLimit", "LO", b"none"),
        ("padding limit empty", "PixelPaddingRangeLimit", "US", b""),
        ("smallest pixel of one byte", "SmallestImagePixelValue", "US", b"\1"),
        ("largest pixel as text", "LargestImagePixelValue", "LO", b"4095"),
        ("samples as nothing", "SamplesPerPixel", "US", b""),
        ("planar configuration of text", "PlanarConfiguration", "LO", b"none"),
        ("window as US", "WindowCenter", "US", b"\0\x08"),
        ("window as FL", "WindowWidth", "FL", b"\0\0\x80\x45"),
        ("window as OB", "WindowCenter", "OB", b"\0\1\2\3"),
        ("spacing as FD", "ImagerPixelSpacing", "FD", bytes(4) + b"\0\0\xc9\x3f"),
        ("spacing as OB", "ImagerPixelSpacing", "OB", b"\0\1\2\3"),
        ("spacing as SQ", "ImagerPixelSpacing", "SQ", b""),
        ("slope as SQ", "RescaleSlope", "SQ", b""),
        ("presentation shape as UN", "PresentationLUTShape", "UN", b"IDENTITY"),
        ("orientation as UN", "PatientOrientation", "UN", b"L\\F "),
        ("body part as UN", "BodyPartExamined", "UN", b"CHEST "),
        ("name as SQ", "PatientName", "SQ", b""),
        ("name as UN", "PatientName", "UN", b"DOE^JOHN"),
        ("name as OB", "PatientName", "OB", b"DOE^JOHN"),
        ("patient ID as US", "PatientID", "US", b"\1\0"),
        ("birth date as UN", "PatientBirthDate", "UN", b"19500101"),
        ("study description as SQ", "StudyDescription", "SQ", b""),
        ("accession number as UI", "AccessionNumber", "UI", b"1.2.3\0"),
        ("physician as AT", "ReferringPhysicianName", "AT", b"\x10\0\x10\0"),
        ("physician as AT of three bytes", "ReferringPhysicianName", "AT", b"\x10\0\x10"),
        ("manufacturer as FL of three bytes", "Manufacturer", "FL", b"\0\0\0"),
        ("instance number as OW", "InstanceNumber", "OW", b"\1\0"),
        ("character set as UN", "SpecificCharacterSet", "UN", b"ISO_IR 192"),
        ("image type as SQ", "ImageType", "SQ", b""),
        ("image type as UN", "ImageType", "UN", b"DERIVED\\PRIMARY "),
        ("modality as UN", "Modality", "UN", b"DX"),
        ("view as UN", "ViewPosition", "UN", b"PA"),
        ("dates as UN", "AcquisitionDate", "UN", b"20200101"),
        ("dates as US", "StudyDate", "US", b"\1\2"),
        ("lossy as US", "LossyImageCompression", "US", b"\1\0"),
    ]
    return [
        Exhibit(name, source, put(tag, vr, value),
                kinds=("sr", "segmentation") if "spacing" in name else ("sr",))
        for name, tag, vr, value in made
    ]  # fmt: skip


def _lut_item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _lut(
    descriptor: tuple[int, ...] | None,
    data: bytes | None,
    *,
    sequence: str = "VOILUTSequence",
    vr: str = "OW",
    more: str = "",
) -> Callable[[Film], Film]:
    """Return a recipe that puts a LUT of one item into the film; ``more``: a Modality LUT Type."""
    parts = []
    if descriptor is not None:
        value = struct.pack(f"<{len(descriptor)}H", *descriptor)
        parts.append(element("LUTDescriptor", "US", value))
    if more:
        parts.append(element("ModalityLUTType", "LO", more.encode()))
    if data is not None:
        parts.append(element("LUTData", vr, data))
    item = _lut_item(*parts)
    if sequence == "ModalityLUTSequence":
        return lambda film: film.drop("RescaleSlope", "RescaleIntercept", "RescaleType").put(
            sequence, "SQ", item
        )
    return lambda film: film.put(sequence, "SQ", item)


def words(entries: int, top: int = 65535) -> bytes:
    return np.linspace(0, top, entries).round().astype("<u2").tobytes()


def octets(entries: int) -> bytes:
    return np.linspace(0, 255, entries).round().astype("u1").tobytes()


def _luts() -> list[Exhibit]:
    """A table that is not what its descriptor says is none, or it is read as what fits."""
    source = "fo-dicom/fo-dicom#1062, nroduit/Weasis#318, fo-dicom/fo-dicom#1369 and neighbours"
    odd = {
        "one entry short": ((4096, 0, 16), words(4095)),
        "one entry too many": ((4096, 0, 16), words(4097)),
        "two entries short": ((4096, 0, 16), words(4094)),
        "half of its entries missing but one": ((4096, 0, 16), words(2049)),
        "an odd number of bytes": ((4096, 0, 16), words(4096)[:-1]),
        "a byte an entry": ((4096, 0, 8), octets(4096)),
        "a byte an entry in words": ((4096, 0, 8), words(4096, 255)),
        "no data": ((4096, 0, 16), b""),
        "no data element": ((4096, 0, 16), None),
        "no descriptor": (None, words(4096)),
        "a descriptor of two values": ((4096, 0), words(4096)),
        "a descriptor of no value": ((), words(4096)),
        "a descriptor of nought bits": ((4096, 0, 0), words(4096)),
        "a descriptor of forty bits": ((4096, 0, 40), words(4096)),
        "one entry": ((1, 0, 16), words(1)),
        "65536 entries said, 4096 there": ((0, 0, 16), words(4096)),
        "entries all the same": ((4096, 0, 16), bytes(8192)),
    }
    made = [
        Exhibit(f"VOI LUT with {name}", source, _lut(descriptor, data))
        for name, (descriptor, data) in odd.items()
    ]
    made += [
        Exhibit(f"Modality LUT with {name}", source,
                _lut(descriptor, data, sequence="ModalityLUTSequence", more="US"),
                # A table of one grey leaves no picture to compare.
                alike=name not in {"one entry", "entries all the same"},
                # Without its Modality LUT a film's values have no meaning: either is true.
                ends=("analysed", "LUT", "same value"))
        for name, (descriptor, data) in odd.items()
    ]  # fmt: skip
    return [
        *made,
        Exhibit("VOI LUT Data as text", source, _lut((4096, 0, 16), b"no table", vr="LO")),
        Exhibit("VOI LUT Data as UN", source, _lut((4096, 0, 16), words(4096), vr="UN")),
        Exhibit(
            "VOI LUT without items", "fo-dicom/fo-dicom#1166", put("VOILUTSequence", "SQ", b"")
        ),
        Exhibit("VOI LUT of an empty item", source, put("VOILUTSequence", "SQ", _lut_item())),
        Exhibit(
            "VOI LUT Function empty", "fo-dicom/fo-dicom#1891", put("VOILUTFunction", "CS", b"")
        ),
        Exhibit("VOI LUT Function unknown", source, put("VOILUTFunction", "CS", b"CURVED")),
        Exhibit("presentation shape unknown", source, put("PresentationLUTShape", "CS", b"ODD ")),
    ]


def _bits() -> list[Exhibit]:
    """Bits that do not fit the pixels are told from the pixels."""
    source = "fo-dicom/fo-dicom#1992, nroduit/Weasis#94"
    ends = ("analysed", "bit", "Bit")

    def stored(bits: int, high: int | None = None) -> Callable[[Film], Film]:
        return lambda film: film.set(BitsStored=bits, HighBit=bits - 1 if high is None else high)

    made = [
        Exhibit(f"{bits} bits said of 12 used", source, stored(bits), ends=ends)
        for bits in (8, 9, 10, 11)
    ]
    made += [
        Exhibit(f"{bits} bits said of 16 used", source, stored(bits), ends=ends,
                encoding={"bits": 16})
        for bits in (10, 12, 14, 15)
    ]  # fmt: skip
    made += [
        Exhibit("12 bits used, 16 said", source, stored(16), alike=False),
        Exhibit("high bit 15 of 12", source, stored(12, 15), ends=(*ends, "high", "High")),
        Exhibit("high bit 0", source, stored(12, 0), ends=(*ends, "high", "High")),
        Exhibit("no bits stored", source, lambda film: film.drop("BitsStored", "HighBit"),
                ends=(*ends, "BitsStored")),
        Exhibit("bits stored of one byte", source, put("BitsStored", "US", b"\x0c"),
                ends=(*ends, "BitsStored", "parsed")),
        Exhibit("signed said, unsigned stored, 16 used", source,
                lambda film: film.set(PixelRepresentation=1), ends=(*ends, "sign"),
                encoding={"bits": 16}),
    ]  # fmt: skip
    return made


def _orientations() -> list[Exhibit]:
    """All eight ways in which a film can lie."""
    source = "OHIF/Viewers#4089, OHIF/Viewers#2163"
    ways = [(a, b) for a in "LR" for b in "FH"] + [(a, b) for a in "FH" for b in "LR"]
    made = [Exhibit(f"rows to {a}, columns to {b}", source, turned(a, b)) for a, b in ways]
    return [
        *made,
        Exhibit("rows to RA, columns to F", source,
                lambda film: film.turned("R", "F").set(PatientOrientation=["RA", "F"])),
        Exhibit("rows to RP, columns to HA", source,
                lambda film: film.turned("R", "H").set(PatientOrientation=["RP", "HA"])),
        Exhibit("rows to FP, columns to LA", source,
                lambda film: film.turned("F", "L").set(PatientOrientation=["FP", "LA"])),
        Exhibit("rows to L, columns to L", source, text(PatientOrientation="L\\L"),
                ends=("analysed", "rientation")),
    ]  # fmt: skip


def turned(rows_to: str, columns_to: str) -> Callable[[Film], Film]:
    return lambda film: film.turned(rows_to, columns_to)


def _texts() -> list[Exhibit]:
    """Texts go out as the bytes that came."""
    source = "fo-dicom/fo-dicom#1210, mercure-imaging/mercure#59"
    latin = {
        "name": {"PatientName": b"B\xf6hm^Dr"}, "patient ID": {"PatientID": b"M\xf6-1 "},
        "accession number": {"AccessionNumber": b"\xc4-1 "},
        "study description": {"StudyDescription": b"Thorax \xfcbersicht"},
        "referring physician": {"ReferringPhysicianName": b"Dr^B\xf6hm "},
        "institution": {"InstitutionName": b"Klinikum S\xfcd"},
        "study ID": {"StudyID": b"\xe4\xf6"}, "other names": {"OtherPatientNames": b"J\xf6rg"},
    }  # fmt: skip
    made = [
        Exhibit(f"Latin-1 in the {name}, UTF-8 declared", source, text(**values),
                same_bytes=tuple(name for name in values
                                 if name in {"PatientName", "PatientID", "AccessionNumber",
                                             "StudyDescription", "ReferringPhysicianName"}))
        for name, values in latin.items()
    ]  # fmt: skip
    names = {
        "none declared, Latin-1": (b"", b"B\xf6hm^Dr"),
        "an unknown set": (b"KLINGON", b"B\xf6hm^Dr"),
        "ASCII declared, Latin-1": (b"ISO_IR 6", b"B\xf6hm^Dr"),
        "Latin-1 declared, Cyrillic UTF-8": (b"ISO_IR 100", "Иванов^И".encode()),
        "UTF-8 declared, Greek": (b"ISO_IR 192", b"\xd0\xe1\xf0\xe1\xe4\xfc"),
        "UTF-8 declared, cut within a letter": (b"ISO_IR 192", "Müllé".encode()[:-1]),
        "UTF-8 declared, GBK": (b"ISO_IR 192", "王^小东".encode("gbk")),
        "UTF-8 declared, Shift JIS": (b"ISO_IR 192", "山田^太郎".encode("shift_jis")),
        "GB18030 declared, broken": (b"GB18030", b"\xcd\xf5^\xff\xfe"),
        "kanji declared, no escape": (b"\\ISO 2022 IR 87", b"Yamada^\x3b\x33"),
        "kanji declared, broken escape": (b"\\ISO 2022 IR 87", b"Yamada^\x1b$B\x3b"),
        "Korean declared, no escape": (b"\\ISO 2022 IR 149", b"Hong^\xb1\xe6\xb5\xbf"),
        "an unknown escape": (b"ISO_IR 100", b"M\x1b$Zller"),
        "ISO IR 192": (b"ISO IR 192", "Müller".encode()),
        "three sets, one unknown": (b"\\ISO 2022 IR 87\\NO SET", b"Yamada"),
        "a control character": (b"ISO_IR 192", b"DOE^J\x07N"),
        "a line end": (b"ISO_IR 192", b"DOE^J\r\nN"),
        "NUL in the middle": (b"ISO_IR 192", b"DOE^J\0N"),
        "200 letters": (b"ISO_IR 192", b"D" * 200),
        "nine components": (b"ISO_IR 192", b"A^B^C^D^E^F^G^H^I"),
        "five groups": (b"ISO_IR 192", b"A=B=C=D=E"),
        "two names": (b"ISO_IR 192", b"DOE^JOHN\\ROE^JIM"),
        "nothing": (b"ISO_IR 192", b""), "spaces": (b"ISO_IR 192", b"    "),
        "carets": (b"ISO_IR 192", b"^^^^"),
    }  # fmt: skip
    procedure = _lut_item(
        element("CodeValue", "SH", b"A1"),
        element("CodingSchemeDesignator", "SH", b"99X "),
        element("CodeMeaning", "LO", "山田".encode("shift_jis")),
    )
    made.append(
        Exhibit("procedure in Shift JIS, half-width kana declared", source,
                lambda film: film.text(SpecificCharacterSet="ISO_IR 13").put(
                    "ProcedureCodeSequence", "SQ", procedure))
    )  # fmt: skip
    return made + [
        Exhibit(f"name with {name}", source, text(SpecificCharacterSet=declared, PatientName=name_),
                same_bytes=("PatientName",))
        for name, (declared, name_) in names.items()
    ]  # fmt: skip


def _derailed() -> list[Exhibit]:
    """A private element whose VR is none: what follows is read, or the reason is the true one."""
    source = "fo-dicom/fo-dicom#47, pydicom/pydicom#1067, ivmartel/dwv#1505"
    # "holds no Pixel Data" would be untrue: the parser ran off the track.
    made = []
    for place, tag in {"before": "0009,1001", "between": "0019,1001", "after": "0029,1001",
                       "last": "0051,1001"}.items():  # fmt: skip
        for vr in ("??", "--", "ob", "lo", "ZZ", "\0\0", "  ", "UN"):
            for long in (False, True):
                length = "long" if long else "short"
                made.append(
                    Exhibit(f"private element {place} the rest, VR {vr!r} {length}", source,
                            _private(tag, vr, long=long),
                            ends=("analysed", "VR", "parsed", "private"))
                )  # fmt: skip
    return made


def _private(tag: str, vr: str, *, long: bool) -> Callable[[Film], Film]:
    return lambda film: film.put(tag, vr, b"odd value.", long=long)


def _views() -> list[Exhibit]:
    """What a header does not say is not held against the film."""
    view = "mk-runner/MLRG#5, MIT-LCP/mimic-cxr#15"
    part = "the words of admission.toml in their own scripts"

    def said(keyword: str, value: str) -> Callable[[Film], Film]:
        return lambda film: film.drop("ViewCodeSequence", "AnatomicRegionSequence").text(
            **{keyword: value.encode()}
        )

    views = ("UNKNOWN", "UNK", "OTHER", "ERECT", "PORT", "PORTABLE", "SUPINE", "NONE", "", "-",
             "--", "?", "N/A", "BEDSIDE", "SITTING", "STANDING", "DEFAULT", "UNDEFINED",
             "UNSPECIFIED", "NOT SPECIFIED", "pa", "P-A", "PA_ERECT", "AP SUP", "FRONTAL",
             "UPRIGHT", "SEMI-ERECT")  # fmt: skip
    parts = ("ГРУДНАЯ КЛЕТКА", "ГРУДНАЯ  КЛЕТКА", "ОГК", "ΘΩΡΑΚΑΣ", "胸部", "חזה", "صدر", "胸片",
             "흉부", "ทรวงอก", "PORTCHEST", "CHEST_PA", "THORAX AP", "Lunge", "poumon",
             "tórax", "Грудная", "", "UNKNOWN", "NA", "XR", "?")  # fmt: skip
    return [
        *[Exhibit(f"view {name!r}", view, said("ViewPosition", name)) for name in views],
        *[Exhibit(f"body part {name!r}", part, said("BodyPartExamined", name)) for name in parts],
        Exhibit("no word of view, body part or study", "two of three real hidden films",
                lambda film: film.drop(
                    "ViewPosition", "ViewCodeSequence", "BodyPartExamined", "StudyDescription",
                    "AnatomicRegionSequence", "SeriesDescription", "ProtocolName")),
    ]  # fmt: skip


MET = {
    "window centre with a comma", "imager spacing with a comma", "imager spacing of one value",
    "pixel spacing of one value", "dates of no month", "age without unit", "weight with a comma",
    "RequestAttributesSequence of text", "ProcedureCodeSequence of text",
    "AnatomicRegionSequence as UN", "OtherPatientIDsSequence of half an item", "name as SQ",
    "spacing as SQ", "manufacturer as FL of three bytes", "patient ID as US",
    "VOI LUT with one entry short", "VOI LUT with no data", "VOI LUT with no descriptor",
    "rows to R, columns to H", "rows to F, columns to R",
    "Latin-1 in the name, UTF-8 declared", "Latin-1 in the study description, UTF-8 declared",
    "Latin-1 in the referring physician, UTF-8 declared", "name with an unknown set",
    "name with kanji declared, broken escape", "name with GB18030 declared, broken",
    "procedure in Shift JIS, half-width kana declared",
    "name with a line end", "name with nine components", "name with nothing",
    "private element after the rest, VR '??' short",
}  # fmt: skip
"""What was met as it is, or is nearest to it: their results are written in every run."""

EXHIBITS = [
    *_values(), *_sequences(), *_numbers(), *_luts(), *_bits(), *_orientations(), *_texts(),
    *_derailed(), *_views(), *streams(),
]  # fmt: skip
