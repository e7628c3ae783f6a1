"""One running engine for each module of tests, on the model that all test runs share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.conftest import MODEL_CACHE
from tests.engine.asking import RunningModel

from dragoman.engine.model_files import install_model
from dragoman.engine.supervisor import EngineSupervisor
from dragoman.http_client import HttpClient
from dragoman.providers.local import LocalProvider, describe_model
from dragoman.records.local_model import LocalModel


@pytest.fixture(scope="session")
def model_path() -> Path:
    return install_model(MODEL_CACHE)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(
    model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningModel]:
    local = LocalModel(
        id="smollm2-135m-instruct",
        slots=4,
        context_tokens=512,
        max_queue=8,
        stall_s=60.0,
        prompt_cache_mib=32,
    )
    supervisor = EngineSupervisor(local, model_path, tmp_path_factory.mktemp("engine"))
    client = HttpClient()
    provider = LocalProvider({local.id: supervisor}, client)
    await supervisor.start()
    yield RunningModel(provider, supervisor, describe_model(local))
    await provider.aclose()
    await client.aclose()
