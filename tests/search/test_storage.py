"""Places in an object store, and the secrets that must not get anywhere."""

from __future__ import annotations

import pytest

from search.storage import Place, is_uri, redact

SECRET = "wJalrXUtnFEMI"
URIS_WITH_SECRETS = (
    f"s3://AKIAKEY:{SECRET}@bucket/runs",
    f"s3://{SECRET}@bucket/runs",
    f"s3://bucket/runs?secret_key={SECRET}&region=eu-west-1",
    f"s3://bucket/runs?access_key={SECRET}",
    f"gs://token:{SECRET}@bucket",
)


@pytest.mark.parametrize("uri", URIS_WITH_SECRETS)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(ValueError, match="credentials") as refused:
        Place(uri)
    assert SECRET not in str(refused.value)
    assert SECRET not in redact(f"cannot reach {uri}")


@pytest.mark.parametrize("uri", URIS_WITH_SECRETS)
def test_a_search_refuses_such_a_uri_before_anything_is_written(uri, tmp_path):
    from typer.testing import CliRunner

    from search.run.command import app

    out = tmp_path / "runs"
    done = CliRunner().invoke(app, ["spaces/deep.yaml", "--storage", uri, "--out", str(out)])
    assert done.exit_code == 2
    assert "credentials" in done.stderr
    assert SECRET not in done.output
    assert not out.exists()


def test_the_environment_file_redacts_the_command(monkeypatch):
    from search.results.environment import environment

    monkeypatch.setattr("sys.argv", ["run.py", "--data", f"s3://KEY:{SECRET}@bucket/data"])
    assert SECRET not in str(environment())
    assert "s3://***@bucket/data" in environment()["command"]


def test_what_is_a_uri():
    assert is_uri("s3://bucket/runs")
    assert not is_uri("runs/deep-001")
    assert not is_uri("file:///mnt/runs")


@pytest.mark.parametrize("uri", ["ftp://host/runs", "s3:///runs", "s3://"])
def test_what_is_no_place(uri):
    with pytest.raises(ValueError, match=r"must begin|names no bucket"):
        Place(uri)


def test_a_place_keeps_its_options_below_it():
    place = Place("s3://bucket/runs/?region=eu-west-1&scheme=http") / "deep-001"
    assert place.uri == "s3://bucket/runs/deep-001?region=eu-west-1&scheme=http"
    assert place.name == "deep-001"
