"""What can go wrong for a caller: a small family, each member knowing its HTTP status and its stable code."""

from collections.abc import Mapping, Sequence

from lab_models.common.validation import FieldError


class ServiceError(Exception):
    """Base. The message is the problem's `detail`; `errors` point into the request."""

    status = 500
    code = "internal"
    title = "Internal error"
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)


class BadBody(ServiceError):
    """The request's body cannot be read as JSON."""

    status, code, title = 400, "bad_json", "The body is not valid JSON"


class PackedBody(ServiceError):
    """The request's body is compressed, which no route takes."""

    status, code, title = 415, "packed_body", "The body is compressed"


class BodyTooLarge(ServiceError):
    """The request's body is larger than the settings allow."""

    status, code, title = 413, "body_too_large", "The body is too large"


class BodyTooSlow(ServiceError):
    """The request's body did not come within the time that the settings allow."""

    status, code, title = 408, "body_too_slow", "The body took too long"
    headers = {"Connection": "close"}


class UploadTooLarge(ServiceError):
    """An uploaded file is larger than the settings allow."""

    status, code, title = 413, "upload_too_large", "The upload is too large"


class UploadInterrupted(ServiceError):
    """The client went away before its upload was whole."""

    status, code, title = 400, "upload_interrupted", "The upload is not whole"


class UnusableImages(ServiceError):
    """Uploaded images cannot become a data set; `errors` point to files by their path in the archive."""

    status, code, title = 422, "import_refused", "These images cannot become a data set"


class UnusableImage(ServiceError):
    """The body is to be an image and cannot be read as one."""

    status, code, title = 422, "unusable_image", "The image cannot be read"


class DiskFull(ServiceError):
    """The service's disk is full."""

    status, code, title = 507, "storage_full", "The disk is full"


class InvalidRequest(ServiceError):
    """A field or parameter is unknown or has a bad value."""

    status, code, title = 422, "invalid_request", "The request has bad fields"


class Unauthorized(ServiceError):
    """The request has no key, or one that is not known or revoked."""

    status, code, title = 401, "unauthorized", "A key is needed"
    headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """The caller's key does not allow this."""

    status, code, title = 403, "forbidden", "Not allowed with this key"


class TooManyRuns(ServiceError):
    """The owner has as many waiting runs as their quota, or the settings, allow."""

    status, code, title = 429, "too_many_runs", "Too many runs are waiting"


class DiskQuotaUsedUp(ServiceError):
    """The owner's files take as much as their quota allows."""

    status, code, title = 507, "disk_quota", "The owner's files take too much"


class TooManyImports(ServiceError):
    """The owner imports another data set right now."""

    status, code, title = 429, "too_many_imports", "One import at a time"


class TooManyDatasets(ServiceError):
    """The owner's data sets would take more than the settings allow."""

    status, code, title = 413, "too_many_datasets", "The owner's data sets take too much"


class TooManyWebhooks(ServiceError):
    """The owner has as many webhooks as the settings allow."""

    status, code, title = 429, "too_many_webhooks", "Too many webhooks"


class TooManyRequests(ServiceError):
    """The caller sends more requests a minute than the settings allow."""

    status, code, title = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


class UnknownHost(ServiceError):
    """The request names a host that this service is not: a web page of somebody else may have sent it."""

    status, code, title = 400, "unknown_host", "Not a name of this service"


class OtherOrigin(ServiceError):
    """A web page of somebody else has sent the request."""

    status, code, title = 403, "other_origin", "Sent by a page of somebody else"


class OpenDoor(ServiceError):
    """The service can be reached from beyond its machine and asks nobody for a key."""

    status, code, title = 403, "open_door", "This service would let everybody in"


class NotFound(ServiceError):
    """There is nothing under this address."""

    status, code, title = 404, "not_found", "Not found"


class LogElsewhere(NotFound):
    """The log lies on the machine that wrote it, and this one does not see its files; the message names it."""

    code, title = "log_elsewhere", "The log lies on another machine"


class RangeNotSatisfiable(ServiceError):
    """The `Range` that is asked for begins after the end, or ends before its beginning."""

    status, code, title = 416, "range_not_satisfiable", "There are no such bytes"

    def __init__(self, detail: str, size: int) -> None:
        super().__init__(detail)
        self.headers = {"Content-Range": f"bytes */{size}"}


class NotAcceptable(ServiceError):
    """The form that is asked for needs a library that this service does not have; the message names it."""

    status, code, title = 406, "not_acceptable", "This form cannot be made here"


class Conflict(ServiceError):
    """The request does not fit what is there."""

    status, code, title = 409, "conflict", "Conflict"


class AlreadyFinished(Conflict):
    """What has ended cannot be cancelled any more."""

    code, title = "already_finished", "Already finished"


class NothingToRetry(Conflict):
    """No run has failed or was cancelled."""

    code, title = "nothing_to_retry", "Nothing to retry"


class NothingToPause(Conflict):
    """No run is queued or under way."""

    code, title = "nothing_to_pause", "Nothing to pause"


class NothingToResume(Conflict):
    """No run is paused."""

    code, title = "nothing_to_resume", "Nothing to resume"


class NotQueued(Conflict):
    """Only what waits has a priority that can still matter."""

    code, title = "not_queued", "Nothing of it waits"


class RetryOtherFirst(Conflict):
    """A run builds on one that has itself failed or been cancelled."""

    code, title = "retry_other_first", "Another experiment must be retried first"


class NotFinished(Conflict):
    """What is still under way cannot be deleted."""

    code, title = "not_finished", "Not finished yet"


class WebhookDisabled(Conflict):
    """Nothing is sent to a webhook that is disabled."""

    code, title = "webhook_disabled", "The webhook is disabled"


class HasDependents(Conflict):
    """Other experiments, or a study, build on it or are compared with it."""

    code, title = "has_dependents", "Something depends on it"


class IdempotencyConflict(Conflict):
    """The idempotency key was used with another body."""

    code, title = "idempotency_key_reused", "Idempotency key used with another body"


class Busy(ServiceError):
    """Others have asked for the same kind of long computation."""

    status, code, title = 503, "busy", "Busy, try again"
    headers = {"Retry-After": "2"}


class StoreOutOfReach(ServiceError):
    """The bucket in which files lie does not answer, or not to these credentials."""

    status, code, title = 503, "store_out_of_reach", "The store of files does not answer"
    headers = {"Retry-After": "5"}


class Overloaded(Busy):
    """More requests than the settings allow wait for their turn."""


class TooManyWatchers(Busy):
    """More streams of events than the settings allow are open."""

    headers = {"Retry-After": "10"}


class NoRoomForBody(Busy):
    """Bodies and answers take as much memory as the settings allow."""

    headers = {**Busy.headers, "Connection": "close"}


class Misconfigured(Exception):
    """The service cannot start as it is set up; the message says what to change."""
