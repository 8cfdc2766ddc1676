"""Why a request gets no answer: one sentence for people in two languages, one word for programs, never a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from petmood.labels import Language

Reason = Literal[
    "no_file",
    "too_many_files",
    "bad_form",
    "bad_box",
    "bad_request",
    "unknown_emotion",
    "no_key",
    "not_found",
    "wrong_method",
    "no_length",
    "slow_upload",
    "too_large",
    "too_many_pixels",
    "animated_image",
    "empty_image",
    "unreadable_image",
    "truncated_image",
    "box_outside_image",
    "unreadable_video",
    "no_video",
    "no_heat_maps",
    "no_animal",
    "busy",
    "out_of_time",
    "internal",
]


class Words(NamedTuple):
    """What a refusal says."""

    status: int
    english: str
    korean: str


REFUSALS: Mapping[Reason, Words] = {
    "no_file": Words(422, "No file was sent; send one as the form field `file` or as the body.", "파일이 없습니다."),
    "too_many_files": Words(422, "Too many files in one request.", "한 번에 보낸 파일이 너무 많습니다."),
    "bad_form": Words(400, "The form cannot be read.", "보낸 양식을 읽을 수 없습니다."),
    "bad_box": Words(
        422,
        "The box is not x,y,width,height in pixels, with a width and height of 1 or more.",
        "상자는 x,y,너비,높이(픽셀)여야 하고 너비와 높이는 1 이상이어야 합니다.",
    ),
    "bad_request": Words(422, "A parameter has a value that is not allowed.", "허용되지 않는 값이 있습니다."),
    "unknown_emotion": Words(422, "The model does not know this emotion.", "모델이 모르는 감정입니다."),
    "no_key": Words(401, "A valid API key is needed.", "올바른 API 키가 필요합니다."),
    "not_found": Words(404, "There is nothing here.", "여기에는 아무것도 없습니다."),
    "wrong_method": Words(405, "This address does not take this kind of request.", "허용되지 않는 요청 방식입니다."),
    "no_length": Words(411, "The request does not say how long it is.", "요청의 길이가 없습니다."),
    "slow_upload": Words(408, "The upload took too long.", "업로드가 너무 오래 걸렸습니다."),
    "too_large": Words(413, "The file is too large.", "파일이 너무 큽니다."),
    "too_many_pixels": Words(413, "The picture has too many pixels.", "사진의 픽셀 수가 너무 많습니다."),
    "animated_image": Words(
        415, "The picture moves; send a still photo or a video.", "움직이는 그림입니다. 사진이나 동영상을 보내 주세요."
    ),
    "empty_image": Words(422, "The file is empty.", "빈 파일입니다."),
    "unreadable_image": Words(
        415,
        "The file is not a photo that can be read; JPEG, PNG, WebP, BMP, GIF and TIFF can.",
        "읽을 수 있는 사진이 아닙니다(JPEG, PNG, WebP, BMP, GIF, TIFF 가능).",
    ),
    "truncated_image": Words(422, "The photo ends too early; send it again.", "사진 파일이 중간에 끊겼습니다."),
    "box_outside_image": Words(422, "The box leaves nothing of the photo.", "상자가 사진 밖에 있습니다."),
    "unreadable_video": Words(415, "The file is not a video that can be read.", "읽을 수 있는 동영상이 아닙니다."),
    "no_video": Words(404, "This server does not take videos.", "이 서버는 동영상을 받지 않습니다."),
    "no_heat_maps": Words(
        404, "This model cannot show heat maps; a run folder can.", "이 모델은 히트맵을 만들 수 없습니다."
    ),
    "no_animal": Words(422, "No dog or cat was found.", "개나 고양이를 찾지 못했습니다."),
    "busy": Words(
        429, "Too many requests at once; try again in a moment.", "요청이 많습니다. 잠시 후 다시 시도하세요."
    ),
    "out_of_time": Words(503, "The answer took too long; try again.", "답이 너무 오래 걸렸습니다. 다시 시도하세요."),
    "internal": Words(500, "Something went wrong on the server.", "서버에 문제가 생겼습니다."),
}


class RefusalError(Exception):
    """A request that gets no answer."""

    def __init__(self, reason: Reason, *, retry_after: int = 0) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.words = REFUSALS[reason]
        self.retry_after = retry_after or (1 if self.words.status in {429, 503} else 0)
        """Seconds until it may be worth trying again; 0 if it is not."""

    def sentence(self, language: Language) -> str:
        """What it means, for people."""
        return self.words.korean if language == "ko" else self.words.english


def refusal_of(reason: str) -> RefusalError:
    """The refusal of a picture for one of ``records.REASONS``; an unknown word becomes an unreadable picture."""
    for known in REFUSALS:
        if known == reason:
            return RefusalError(known)
    return RefusalError("unreadable_image")
