"""UserService and StorageStatusService: S3 credentials for a token, and the public keys."""

from __future__ import annotations

from aruna.api.storage.models.v2 import models_pb2 as models
from aruna.api.storage.services.v2 import info_service_pb2 as info_pb2
from aruna.api.storage.services.v2 import user_service_pb2 as users_pb2

from sandbox.aruna.model import Token
from sandbox.aruna.state import State
from sandbox.aruna.ulid import ulid_error
from sandbox.errors import internal

_FAILED = "Failed to add endpoint to user"


def get_credentials(
    state: State, token: Token, request: users_pb2.GetS3CredentialsUserTokenRequest
) -> users_pb2.GetS3CredentialsUserTokenResponse:
    """GetS3CredentialsUserToken: those that the calling token has already."""
    _check_endpoint(state, request.endpoint_id)
    credentials = state.credentials(token.id)
    if credentials is None:
        raise internal(
            f'{_FAILED} : status: Unauthenticated, message: "Unauthorized", '
            "details: [], metadata: MetadataMap { headers: {} }"
        )
    return users_pb2.GetS3CredentialsUserTokenResponse(
        s3_access_key=credentials.access_key,
        s3_secret_key=credentials.secret_key,
        s3_endpoint_url=state.s3_url,
    )


def create_credentials(
    state: State, token: Token, request: users_pb2.CreateS3CredentialsUserTokenRequest
) -> users_pb2.CreateS3CredentialsUserTokenResponse:
    """CreateS3CredentialsUserToken: new ones, with a personal token."""
    state.require_personal(token)
    _check_endpoint(state, request.endpoint_id)
    credentials = state.issue_credentials(token)
    return users_pb2.CreateS3CredentialsUserTokenResponse(
        s3_access_key=credentials.access_key,
        s3_secret_key=credentials.secret_key,
        s3_endpoint_url=state.s3_url,
    )


def get_pubkeys(state: State) -> info_pb2.GetPubkeysResponse:
    """GetPubkeys: the server's key, then the data proxy's; no token is asked for."""
    keys = [models.Pubkey(id=serial, key=text) for serial, text in state.pubkeys.items()]
    keys[-1].location = state.endpoint_id
    return info_pb2.GetPubkeysResponse(pubkeys=keys)


def _check_endpoint(state: State, endpoint_id: str) -> None:
    fault = ulid_error(endpoint_id)
    if fault is None and endpoint_id != state.endpoint_id:
        fault = "Endpoint not found"
    if fault is None and state.switches.proxy_down:
        fault = "transport error"
    if fault:
        raise internal(f"{_FAILED} : {fault}")
