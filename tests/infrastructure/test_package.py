"""How the package is built: its one file of byte code, the pins, and what stops a build.

That its handlers work is tried in tests/infrastructure/package.
"""

from __future__ import annotations

import ast
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from link_peer.domain.errors import LinkPeerError, PolicyError
from link_peer_deploy import archives, authorities, builds, bundle, cut, runtime_python
from link_peer_deploy import packaging as package
from link_peer_deploy.bill import materials
from link_peer_deploy.manifest import load

ROOT = Path(__file__).resolve().parents[2]
POLICY_FILE = ROOT / "benchmarks" / "policy.yaml"
HOME, PEER = "1000000000000001", "1000000000000002"


def test_a_compiled_policy_that_is_not_of_this_build_stops_it(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the policy, or anywhere in the library: somebody put it there, and no review shows what it says."""
    stray = policy.with_name("policy.compiled.json")
    stray.write_bytes(b"{}")
    with pytest.raises(PolicyError, match=r"policy\.compiled\.json: only a package has .*: delete it"):
        package.build(policy, policy.parent / "build", package.Target(), compiled=False)
    monkeypatch.setattr("link_peer.__file__", str(policy.with_name("__init__.py")))
    with pytest.raises(package.PackageError, match=r"policy\.compiled\.json: only a package has .*: delete it"):
        package.own_code(policy.parent, policy)


# the library in one file

RAISE = """
import importlib.resources, inspect, json, sys, traceback
sys.path[:0] = [{folder!r}]
import auto_link
from link_peer.app import dispatch
from link_peer.engine import write
from link_peer.inbound import policy_file
try:
    dispatch.handle_events(b"", None)
except Exception:
    raised = traceback.format_exc()
specs = [vars(module)["__spec__"] for name, module in sys.modules.items() if name.startswith("link_peer.")]
print(json.dumps({{
    "traceback": raised,
    "names": [dispatch.__name__, dispatch.__package__, dispatch.__file__, dispatch.__spec__.origin, write.__path__],
    "source": inspect.getsource(dispatch.answer),
    "data": importlib.resources.files("link_peer").joinpath("py.typed").is_file(),
    "loaders": sorted({{type(spec.loader).__name__ for spec in specs}}),
}}))
"""


def bundled(folder: Path) -> Path:
    """Our part of a package, compiled by this Python."""
    folder.mkdir(parents=True)
    package.own_code(folder, POLICY_FILE)
    package.compile_modules(folder, sys.executable)
    return folder


def imports(source: Path) -> set[str]:
    """The names in a file's imports, and the modules that it names to be imported later."""
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def ran(folder: Path) -> dict[str, Any]:
    """What a process prints that has our part alone."""
    command = [sys.executable, "-I", "-B", "-c", RAISE.format(folder=str(folder))]
    answer: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603
    return answer


def test_modules_of_the_one_file_look_as_if_they_had_been_found_in_their_folder(tmp_path: Path) -> None:
    """A traceback has the file as it is named in Function Compute, the line and its text; `inspect` and data files
    work."""
    folder = bundled(tmp_path / "code")
    assert [path.parent for path in folder.glob("link_peer/**/*.pyc")] == [folder / "link_peer" / "__pycache__"]
    report = ran(folder)
    source = (ROOT / "shared/link_peer/app/dispatch.py").read_text(encoding="utf-8").splitlines()
    frames = re.findall(r'File "/code/link_peer/app/dispatch\.py", line (\d+), in \w+\n    (.+)\n', report["traceback"])
    assert frames
    assert all(source[int(line) - 1].strip() == text for line, text in frames)
    path = str(folder / "link_peer/app/dispatch.py")
    assert report["names"] == [
        "link_peer.app.dispatch", "link_peer.app", path, path, [str(folder / "link_peer/engine/write")],
    ]  # fmt: skip
    assert report["source"].startswith("def answer(")
    assert report["data"]
    assert report["loaders"] == ["_Loader"]


def test_the_package_has_what_a_function_imports_and_no_other_module(tmp_path: Path) -> None:
    """So it has none of `views`, by which no function decides."""
    package.own_code(tmp_path, POLICY_FILE)
    sources = {".".join(path.relative_to(tmp_path).with_suffix("").parts): path for path in tmp_path.rglob("*.py")}
    unread, reached = {name for name in sources if "." not in name}, set[str]()
    while unread:
        reached |= unread
        unread = set().union(*(imports(sources[name]) for name in unread)) & sources.keys() - reached
    assert {name for name in sources if not name.endswith(".__init__")} == reached
    assert {"auto_link", "cross_account", "sweep", "link_peer.alicloud.sls"} < reached
    assert not (tmp_path / "link_peer" / "views").exists()


def test_another_python_imports_the_sources(tmp_path: Path) -> None:
    """Byte code is of one version: a package that is deployed to another runtime starts slowly, and works."""
    folder = bundled(tmp_path / "code")
    file = folder / "link_peer" / bundle.NAME
    content = file.read_bytes()
    assert content.count(MAGIC_NUMBER) == 1
    file.write_bytes(content.replace(MAGIC_NUMBER, b"\0\0\r\n"))
    assert ran(folder)["loaders"] == ["SourceFileLoader"]


def test_it_is_built_for_the_runtime_of_every_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """LINK_PEER_RUNTIME decides both; python3.12 without it."""
    for env in ({}, {"LINK_PEER_RUNTIME": "python3.10"}):
        monkeypatch.delenv("LINK_PEER_RUNTIME", raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        built = runtime_python.runtime_in_use()
        functions = load(ROOT / "s.yaml", env=env, account=HOME).functions
        assert {function.runtime for function in functions} == {built} == {env.get("LINK_PEER_RUNTIME", "python3.12")}
        assert built in package.GLIBC


def test_pins_are_those_of_the_runtime_not_of_this_python() -> None:
    """pip evaluates markers for the Python that it runs on."""
    lines = (
        "-r other.txt\na==1 \\\n    --hash=sha256:x \\\n    --hash=sha256:y\n# note\n"
        'b==2; python_version < "3.11"  # why\nc==3; python_version >= "3.11" \\\n    --hash=sha256:z\nd==4; sys_platform == "win32"\n'
    )
    assert [*map(str, archives.pins(lines, "python3.10"))] == ["a==1 --hash=sha256:x --hash=sha256:y", "b==2"]
    assert archives.pins(lines, "python3.12") == [archives.Pin("a==1", ("x", "y")), archives.Pin("c==3", ("z",))]


@pytest.mark.parametrize("name", [path.name for path in sorted(ROOT.glob("requirements*.txt"))])
def test_every_version_is_pinned_with_the_hashes_of_its_archives(name: str) -> None:
    """Of what is deployed, of what builds it, and of what runs on the machine that does. What is published as source
    has one."""
    pins = archives.pins((ROOT / name).read_text(encoding="utf-8"), "python3.10")
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin.requirement), pin
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in pin.digests), pin
        assert len(pin.digests) == 1 if pin.name in archives.SOURCE_ONLY else pin.digests, pin
    assert name != "requirements.txt" or {pin.name for pin in pins} >= archives.SOURCE_ONLY


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl here")
def test_authorities_have_the_names_by_which_openssl_looks_for_them(tmp_path: Path) -> None:
    """Those of certifi, and two of one subject with everything that its hash leaves out."""
    attribute, part, oid = x509.NameAttribute, x509.RelativeDistinguishedName, NameOID
    odd = [
        part([attribute(oid.COUNTRY_NAME, "CN")]),
        part([attribute(oid.ORGANIZATION_NAME, "  Ärzte   &\tCO "), attribute(oid.EMAIL_ADDRESS, "CA@Example.com")]),
        part([attribute(oid.COMMON_NAME, "中文 Root", _type=_ASN1Type.BMPString)]),
        part([attribute(oid.X500_UNIQUE_IDENTIFIER, b"\0A B", _type=_ASN1Type.BitString)]),
        part([attribute(oid.ORGANIZATIONAL_UNIT_NAME, "Long " * 12)]),
    ]
    key, begins = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(x509.Name(odd), x509.Name(odd), key.public_key(), 1, begins, begins)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    (tmp_path / "file").write_text(f"# some\n{pem}\n# others\n{pem}{certifi.contents()}", encoding="utf-8")
    authorities.write(tmp_path / "file", tmp_path / "folder")
    written = list((tmp_path / "folder").iterdir())
    assert len(written) == certifi.contents().count("BEGIN CERT") + 2
    for path in written:
        command = ["openssl", "x509", "-noout", "-hash", "-in", str(path)]
        result = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
        assert result.stdout.strip() == path.stem


def test_a_module_that_has_changed_is_not_cut(tmp_path: Path) -> None:
    """A new version may do something else there: the build stops."""
    for name, (old, _) in cut.SWAPS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(old.replace("_SupportsRead", "object"), encoding="utf-8")
    with pytest.raises(archives.PackageError, match=r"requests/models\.py has changed"):
        cut.swap(tmp_path)


def test_an_archive_with_another_hash_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror, or a cache on the way, that gives another file under the same name and version stops the build."""
    info = "made_up-1.0.dist-info"
    wheel = tmp_path / "made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made_up.py", "x = 1\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(archives, "ROOT", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    pin = archives.Pin("made-up==1.0", (digest,))
    (tmp_path / "requirements.txt").write_text(f"{pin}\n", encoding="utf-8")
    assert archives.install(tmp_path / "code", "python3.12") == {"made-up": digest}
    assert (tmp_path / "code" / "made_up.py").exists()
    bill = materials(tmp_path / "code", {"made-up": digest}, "0" * 64)
    assert [(part["purl"], part["hashes"][0]["content"]) for part in bill["components"]] == [
        ("pkg:pypi/made-up@1.0", digest)
    ]
    (tmp_path / "requirements.txt").write_text(f"{pin}\n".replace(digest, "0" * 64), encoding="utf-8")
    with pytest.raises(
        archives.PackageError, match=r"^the package index gave a file for made-up==1\.0 that has none of"
    ):
        archives.install(tmp_path / "other", "python3.12")
    for name in ("pip", "runpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)  # a checkout, from which no module is taken
    with pytest.raises(archives.PackageError, match="has none of the hashes"):
        archives.install(tmp_path / "other", "python3.12")
    assert not (tmp_path / "other").exists()


# what stops a build


def refused(policy: Path, **env: str) -> str:
    """What stops a build before it fetches anything."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LINK_PEER_RUNTIME", "RUNTIME_PYTHON"):
            patch.delenv(name, raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        with pytest.raises(LinkPeerError) as stopped:
            package.build(policy, policy.parent / "build", package.Target(runtime_python.runtime_in_use()))
    return str(stopped.value)


def test_without_the_runtimes_python_there_is_no_package(policy: Path) -> None:
    """An uncompiled package takes four times as long to start; one that nobody asked for would go unnoticed."""
    text = refused(policy, RUNTIME_PYTHON="no-such-python")
    assert text == "there is no no-such-python here: install it, set RUNTIME_PYTHON, or pass --uncompiled"


def test_a_policy_that_changes_while_it_is_built_has_no_package(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither after it was compared, nor while archives are fetched."""
    monkeypatch.setattr(archives, "install", lambda *_: {})
    with pytest.raises(archives.PackageError, match="changed since it was compared"):
        package.build(policy, policy.parent / "build", package.Target(), compiled=False, digest="0" * 16)
    monkeypatch.setattr(archives, "install", lambda *_: {"": policy.write_text(f"{POLICY}# more\n")})
    with pytest.raises(archives.PackageError, match="changed since it was compared"):
        package.build(policy, policy.parent / "build", package.Target(), compiled=False)


def test_a_folder_that_cannot_be_written_is_named(policy: Path) -> None:
    """Not a stack trace; a full disk ends in the same way."""
    with pytest.raises(archives.PackageError, match=r"policy\.yaml/package\.builds cannot be written: "):
        package.build(policy, policy, package.Target(), compiled=False)


def test_a_failure_of_pip_is_one_sentence(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, a full disk: what pip says last, and nothing half-built; the older package stays."""
    older = policy.parent / "build" / "package.zip"
    older.parent.mkdir()
    older.write_text("older")
    monkeypatch.setattr(archives, "PLATFORMS", ("no-such-platform",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        archives.PackageError, match=r"^pip could not fetch the SDKs \(is its package index reached\?\): "
    ):
        package.build(policy, older.parent, package.Target(), compiled=False)
    assert older.read_text() == "older"
    assert list((older.parent / builds.BUILDS).iterdir()) == []


def python_of(version: str, path: Path) -> Path:
    """A command that says it is this version of Python; of no version, one that fails as a shim of pyenv does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho Python {version} '(main)'\n" if version else "#!/bin/sh\nexit 127\n")
    path.chmod(0o755)
    return path


def test_another_version_of_python_does_not_compile(policy: Path, tmp_path: Path) -> None:
    """The runtime would not load its byte code, and compile at each cold start."""
    other_python = python_of("3.9.1", tmp_path / "python")
    text = refused(policy, RUNTIME_PYTHON=str(other_python))
    assert f"{other_python} is Python 3.9.1 (main), and the functions run on python3.12" in text


def test_the_runtimes_python_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RUNTIME_PYTHON; else on PATH, if it runs; else pyenv's newest; else uv's."""
    monkeypatch.delenv("RUNTIME_PYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    shim = python_of("", tmp_path / "bin" / "python3.99")
    with pytest.raises(runtime_python.NotFound, match=r"^there is no python3\.99 here"):
        runtime_python.find("python3.99")
    uvs = python_of("3.99.0", tmp_path / "uv" / "python3.99")
    uv = tmp_path / "bin" / "uv"
    uv.write_text(f'#!/bin/sh\n[ "$*" = "python find --no-project 3.99" ] && echo {uvs}\n')
    uv.chmod(0o755)
    assert runtime_python.find("python3.99") == str(uvs)
    python_of("3.99.9", tmp_path / "pyenv" / "versions" / "3.99.9" / "bin" / "python3.99")
    newest = python_of("3.99.10", tmp_path / "pyenv" / "versions" / "3.99.10" / "bin" / "python3.99")
    python_of("3.99.11", tmp_path / "pyenv" / "versions" / "3.99.11-dev" / "bin" / "python3.99")
    assert runtime_python.find("python3.99") == str(newest)
    python_of("3.99.1", shim)
    assert runtime_python.find("python3.99") == str(shim)  # its path: an instance of the package has no PATH
    for requested in (str(newest), "python3.99"):
        monkeypatch.setenv("RUNTIME_PYTHON", requested)
        assert runtime_python.find("python3.99") == (str(newest) if requested == str(newest) else str(shim))


def test_a_python_whose_path_is_not_ascii_is_found_in_an_ascii_locale(tmp_path: Path) -> None:
    """In the folder of a person with such a name, in the locale C."""
    python = python_of("3.99.0", tmp_path / "möbel" / "python3.99")
    (bin_folder := tmp_path / "bin").mkdir()
    (bin_folder / "uv").write_text(f"#!/bin/sh\necho {python}\n", encoding="utf-8")
    (bin_folder / "uv").chmod(0o755)
    find = "from link_peer_deploy import runtime_python; import os, sys; print(ascii(os.fsencode(runtime_python.find('python3.99'))))"
    env = {"PATH": f"{bin_folder}:/usr/bin:/bin", "PYENV_ROOT": str(tmp_path), "LC_ALL": "C", "PYTHONUTF8": "0"}
    result = subprocess.run([sys.executable, "-c", find], env=env, capture_output=True, text=True, check=False)  # noqa: S603
    assert (result.stdout.strip(), result.stderr) == (ascii(os.fsencode(python)), "")


def test_an_unknown_runtime_has_no_package(policy: Path) -> None:
    text = refused(policy, LINK_PEER_RUNTIME="python3.9")
    assert text == "LINK_PEER_RUNTIME is python3.9, and can be python3.10 or python3.12"


POLICY = f"""
deployment: prod
accounts:
  "{HOME}": {{}}
  "{PEER}": {{role: "acs:ram::{PEER}:role/link-peer", external_id: secret, queue: link-peer-requests-b}}
deny: {{ports: [tcp/22]}}
"""


@pytest.fixture(name="policy")
def _policy(tmp_path: Path) -> Path:
    """The file that would be packaged."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def test_an_invalid_policy_has_no_package(policy: Path) -> None:
    """The error names the line; nothing invalid is deployed."""
    policy.write_text("deployment: prod\naccounts: none\n")
    with pytest.raises(PolicyError, match=r"^policy\.yaml:2:11: accounts"):
        package.checked_policy(policy)


def test_a_policy_that_contradicts_its_tests_has_no_package(policy: Path) -> None:
    """The error names the test and the fact that decided."""
    policy.write_text(f'{POLICY}tests: [{{from: "sg-app@{HOME}", accept: ["sg-db@{PEER}:tcp/22"]}}]\n')
    with pytest.raises(archives.PackageError) as stopped:
        package.checked_policy(policy)
    assert str(stopped.value).startswith(
        f"policy.yaml: tests[0].accept[0]: sg-app@{HOME} -> sg-db@{PEER}:tcp/22 must be allowed, and is denied: "
    )


def test_tests_that_depend_on_tags_stop_no_build(policy: Path) -> None:
    """They are not judged while packaging, which reads nothing from the cloud."""
    policy.write_text(f'{POLICY}tests: [{{from: "sg-app@{HOME}", accept: ["sg-db@{PEER}:tcp/443"]}}]\n')
    assert package.checked_policy(policy).bound_queues == {"link-peer-requests-b": PEER}


def test_a_module_for_a_newer_system_stops_the_build(tmp_path: Path) -> None:
    """It would fail to load in the runtime, and only there."""
    path = tmp_path / "native.so"
    path.write_bytes(b"\x7fELF GLIBC_2.2.5 GLIBC_2.17 GLIBC_PRIVATE")
    package.check_glibc(tmp_path, "python3.12")
    path.write_bytes(b"\x7fELF GLIBC_2.17 GLIBC_2.38")
    with pytest.raises(archives.PackageError, match=r"native\.so needs glibc 2\.38"):
        package.check_glibc(tmp_path, "python3.12")


# the same bytes each time


def test_two_builds_of_the_same_sources_are_equal(tmp_path: Path) -> None:
    """Although files have other times, and sets another order."""
    archives = []
    for number in range(2):
        folder = bundled(tmp_path / str(number) / "code")
        os.utime(folder / "sweep.py", (number, number))
        archives.append(package.pack(folder).read_bytes())
    assert archives[0] == archives[1]


def test_the_zip_holds_every_file_in_order(tmp_path: Path) -> None:
    """Readable for the runtime, whatever the umask of the machine that builds it."""
    folder = tmp_path / "code"
    (folder / "a").mkdir(parents=True)
    for name in ("b.py", "a/c.py"):
        (folder / name).write_text("x = 1\n")
        (folder / name).chmod(0o600)
    with zipfile.ZipFile(package.pack(folder)) as archive:
        assert archive.namelist() == ["a/c.py", "b.py"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
