"""What goes over the wire: the API's requests and answers, typed. They are OpenAPI's source."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from congener.query import parse_box
from congener.web.question import LARGEST_ID, LONGEST_TEXT, MOST, MOST_FEEDBACK, MOST_TEXTS, Question


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_box(value: Any) -> Any:
    return parse_box("box", value) if isinstance(value, str) else value


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a boolean")
    return value


NoBoolean = BeforeValidator(_no_boolean)
Id = Annotated[int, Field(ge=1, le=LARGEST_ID), NoBoolean]
Ids = Annotated[list[Id], Field(max_length=MOST_FEEDBACK)]
Texts = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_TEXT)]], Field(max_length=MOST_TEXTS), BeforeValidator(_as_list)
]
Key = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Number = Annotated[float, NoBoolean]
BoxField = Annotated[tuple[Number, Number, Number, Number], BeforeValidator(_as_box)]


class Asked(BaseModel):
    """What the requests share: one picture, or part of one."""

    model_config = ConfigDict(extra="forbid")

    id: Id | None = Field(None, description="An image of the gallery.")
    upload: Key | None = Field(None, description="A picture uploaded before, by its key.")
    image: str | None = Field(None, description="A picture: the bytes of its file in base64.")
    box: BoxField | None = Field(
        None, description="The part that counts: x, y, width and height in pixels of the upright picture."
    )


class SearchRequest(Asked):
    """A question: exactly one of id, upload and image."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": 1, "k": 5}, {"id": 1, "rerank": ["qe"]}]})

    positive: Ids = Field([], description="Ids of images that the hits should be like too.")
    negative: Ids = Field([], description="Ids of images that the hits should not be like.")
    k: Annotated[int, NoBoolean] = Field(Question.k, ge=1, le=MOST, description="How many hits.")
    label: Texts = Field([], description="Only images of these labels, by label or name.")
    min_score: Number = Field(Question.min_score, ge=0, le=1, description="The least similarity of a hit.")
    rerank: Texts = Field([], description="Re-rankers in order: qe, aqe, dba, kreciprocal or diffusion, with settings.")


class ExplainRequest(Asked):
    """Why is this image a hit of that picture?"""

    hit: Id = Field(description="An image of the gallery.")


class HitModel(BaseModel):
    """One image of the answer."""

    rank: int = Field(ge=1)
    score: float = Field(description="What it is ranked by: a cosine, unless re-ranked.")
    similarity: float = Field(ge=0, le=1, description="How alike, for people.")
    id: int
    path: str = Field(description="Relative to the gallery's folder.")
    label: str | None
    label_name: str | None


class Answer(BaseModel):
    """The hits, best first."""

    query: str
    k: int
    hits: list[HitModel]


class SideModel(BaseModel):
    """One of the two pictures of an explanation."""

    map: list[list[float]] = Field(description="The score's pooled part, position by position; sums to `pooled`.")
    pooled: float
    classes: float
    area: tuple[float, float, float, float] = Field(
        description="What the map covers: x, y, width and height in fractions of the upright picture."
    )


class Explanation(BaseModel):
    """Where the likeness lies: pooled + classes = score, on each side."""

    model_config = ConfigDict(extra="allow")

    score: float
    similarity: float
    pooled: float
    classes: float
    query: SideModel
    hit: SideModel


class LabelCountModel(BaseModel):
    """A label and how many images have it."""

    label: str
    name: str
    count: int


class ProgressModel(BaseModel):
    """What indexing is at."""

    state: Literal["idle", "indexing", "busy", "failed"]
    done: int
    total: int
    images: int
    message: str


class GalleryModel(BaseModel):
    """The gallery."""

    name: str
    images: int
    unlabelled: int
    labels: list[LabelCountModel]
    encoder: dict[str, Any]
    adapted: bool
    indexing: ProgressModel


class ImageModel(BaseModel):
    """An image of the gallery."""

    id: int
    path: str
    label: str | None
    label_name: str | None


class ImageFacts(ImageModel):
    """An image of the gallery, with what its file says."""

    width: int | None = Field(description="In pixels, upright; null where the file can't be read now.")
    height: int | None
    bytes: int
    modified: str


class PageModel(BaseModel):
    """Some images of the gallery, in order of id."""

    images: list[ImageModel]
    page: int
    pages: int
    total: int
    size: int


class UploadModel(BaseModel):
    """A picture that was uploaded, kept for a while."""

    upload: str
    name: str
    width: int
    height: int


class JobModel(BaseModel):
    """Work that takes a while."""

    state: Literal["none", "running", "done", "failed"]
    message: str


class CopyModel(BaseModel):
    """An image of a group; the first is the one worth keeping."""

    model_config = ConfigDict(extra="allow")

    id: int
    path: str
    link: Literal["symbolic", "hard"] | None = Field(None, description="A link takes no room, and is no copy.")
    marked: bool = Field(False, description="It is the first with a mark on it, such as a name in a corner.")


class GroupModel(BaseModel):
    """Images that are nearly the same."""

    kind: Literal["copies", "near"]
    images: list[CopyModel]


class DuplicatesModel(JobModel):
    """Groups of near-identical images, once they are found."""

    model_config = ConfigDict(extra="allow")

    groups: list[GroupModel] = []


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="One line that names the valid choices.")


class Health(BaseModel):
    """That the app answers."""

    status: Literal["ok"]
