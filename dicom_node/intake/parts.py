"""Parts of the body that a bundle may name in ``eats.body_parts``, and how films say them.

Codes are of PS3.16 CID 4009 and 4031, in SNOMED CT and as SNOMED RT (SRT) had them. A part that is
not in the table is known by its name alone, in Body Part Examined and in descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.intake.said import folded


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part. ``names``: as Body Part Examined has it; ``words``: phrases of descriptions.

    ``codes``: SCHEME:VALUE of the anatomic region. ``wider``: what it lies in, where a film that
    names only this has not said enough (many devices write EXTREMITY for hands and feet).
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    codes: frozenset[str] = frozenset()
    wider: tuple[str, ...] = ()


_ARM = ("EXTREMITY", "EXTREMITIES", "UPPER EXTREMITY", "UPPEREXTREMITY", "UPPER LIMB", "ARM")
_LEG = ("EXTREMITY", "EXTREMITIES", "LOWER EXTREMITY", "LOWEREXTREMITY", "LOWER LIMB", "LEG")
_BACK = ("SPINE", "WHOLESPINE")


def _part(
    names: str, words: str, sct: str = "", srt: str = "", wider: tuple[str, ...] = ()
) -> BodyPart:
    codes = [*(f"SCT:{each}" for each in sct.split()), *(f"SRT:{each}" for each in srt.split())]
    return BodyPart(_listed(names), _listed(words), frozenset(codes), wider)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(","))


PARTS: tuple[BodyPart, ...] = (
    _part("HAND", "hand, hands, mano, *手*", "85562004", "T-D8700", _ARM),
    _part("FINGER, FINGERS, THUMB", "finger*, thumb*, daumen*, doigt*, dedo*", "7569003 76505004",
          "T-D8800 T-D8810", (*_ARM, "HAND")),
    _part("WRIST", "wrist*, handgelenk*, poignet*, muneca*, polso*", "74670003 8205005",
          "T-15460 T-D8600", _ARM),
    _part("ELBOW", "elbow*, ellbogen*, ellenbogen*, coude*, codo*, gomito*, локоть",
          "16953009", "T-15430", _ARM),
    _part("SHOULDER", "shoulder*, schulter*, epaule*, hombro*, spalla*", "16982005", "T-D2220",
          _ARM),
    _part("HIP", "hip, hips, hufte*, hanche*, cadera*, anca", "29836001 24136001",
          "T-D2500 T-15710", _LEG),
    _part("KNEE", "knee*, knie*, genou*, rodilla*, ginocchi*, *膝*", "72696002", "T-D9200", _LEG),
    _part("ANKLE", "ankle*, sprunggelenk*, osg, cheville*, tobillo*, caviglia", "70258002",
          "T-15750", _LEG),
    _part("FOOT", "foot, feet, fuss, pied*, piede, piedi", "56459004", "T-D9700", _LEG),
    _part("PELVIS", "pelvi*, becken*, bassin, bacin*", "816092008 12921003", "T-D6000"),
    _part("SPINE, WHOLESPINE", "spin*, *spine, *spinal*, wirbel*, "
          "*wirbelsaule*, vertebr*, rachis*, colonn*, columna*, bws, hws, lws, *脊*",
          "421060004 122494005 122495006 122496007", "T-D04FF T-11501 T-11502 T-11503"),
    _part("CSPINE, CERVICALSPINE", "cervical spine, c spine, cspine, hws, halswirbel*, "
          "rachis cervical*, columna cervical", "122494005", "T-11501", _BACK),
    _part("TSPINE, THORACICSPINE", "thoracic spine, t spine, tspine, dorsal spine, bws, "
          "brustwirbel*, rachis dorsal*, rachis thoracique*, columna dorsal", "122495006",
          "T-11502", _BACK),
    _part("LSPINE, LUMBARSPINE, LSSPINE, LUMBOSACRALSPINE", "lumbar spine, l spine, lspine, "
          "ls spine, lumbosacral*, lws, lendenwirbel*, rachis lombaire*, columna lumbar",
          "122496007 1217253001", "T-11503", _BACK),
    _part("SKULL, HEAD", "skull*, schadel*, craneo, cranio*, head, kopf",
          "89546000 69536005", "T-11100 T-D1100"),
    _part("ABDOMEN", "abd, *abdom*, bauch*, buik*, kub, живот*, брюш*, *腹*", "818981001 113345001",
          "T-D4000"),
    _part("BREAST", "breast*, mamm*", "76752008", "T-04000"),
)  # fmt: skip


def part_of(name: str) -> BodyPart:
    """Return the part that a manifest means: one of `PARTS`, or one known by its name alone."""
    for part in PARTS:
        if folded(name) in map(folded, part.names):
            return part
    word = name.replace("_", " ").lower()
    return BodyPart((name,), (word, f"{word}s"))
