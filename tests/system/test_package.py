"""The packages: what is in them, installed on a bare Debian and used there by a plain user on a read-only root, removed."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import time

import pytest
from bare_root import BareRoot, why_not
from test_docs import commands, help_of, options_of

from program import BINARY, PROGRAMS, SOURCE

DEMO = {"documents": 200}
MODEL = SOURCE / "models/paraphrase-MiniLM-L3-v2"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """{"deb": path, "tar": path}, made by cpack of this very build; with ONNX Runtime where there is one."""
    for program in ("dpkg-deb", "dpkg-shlibdeps", "file"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (scripts/install-deps --package installs it)")
    folder = tmp_path_factory.mktemp("packages")
    environment = dict(os.environ)
    runtime = os.environ.get("REEMBED_ONNXRUNTIME", "")
    if os.path.exists(runtime):
        environment["REEMBED_BUNDLE_ONNXRUNTIME"] = runtime
    done = subprocess.run(["cpack", "--config", PROGRAMS.parent / "CPackConfig.cmake", "-B", folder], capture_output=True,
                          text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    [deb], [tar] = folder.glob("*.deb"), folder.glob("*.tar.gz")
    print(f"{deb.name} {deb.stat().st_size // 1024} kB, {tar.name} {tar.stat().st_size // 1024} kB")
    return {"deb": deb, "tar": tar}


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], check=True, capture_output=True, text=True).stdout.strip()


def depends(deb):
    return {re.split(r"[ (|]", each.strip())[0] for each in field(deb, "Depends").split(",")}


@pytest.fixture(scope="module")
def unpacked(packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "-x", packages["deb"], folder], check=True)
    return folder


@pytest.fixture(scope="module")
def bare(packages):
    """A Debian with what the package depends on and man-db, before anything is installed."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    began = time.monotonic()
    root = BareRoot(depends(packages["deb"]) | {"man-db", "bash-completion"})
    print(f"a bare root in {time.monotonic() - began:.1f} s")
    yield root
    root.close()


# --- what is in them ---

def test_what_the_packages_hold(packages, unpacked):
    listing = subprocess.run(["dpkg-deb", "-c", packages["deb"]], check=True, capture_output=True, text=True).stdout
    owners = {line.split()[1] for line in listing.splitlines()}
    assert owners == {"root/root"}
    paths = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert all(path.startswith("usr/") for path in paths)
    wanted = {"usr/bin/reembed", "usr/lib/systemd/system/reembed@.service", "usr/share/man/man1/reembed.1.gz",
              "usr/share/bash-completion/completions/reembed", "usr/share/zsh/vendor-completions/_reembed",
              "usr/share/doc/reembed/README.md", "usr/share/doc/reembed/docs/configuration.md",
              "usr/share/doc/reembed/examples/complete.json"}
    wanted |= {f"usr/share/man/man1/reembed-{command}.1.gz" for command in commands()}
    assert wanted <= paths, wanted - paths
    in_tar = subprocess.run(["tar", "-tzf", packages["tar"]], check=True, capture_output=True, text=True).stdout.split()
    assert {path.split("/", 1)[1] for path in in_tar if not path.endswith("/")} == {path.removeprefix("usr/") for path in paths}
    assert field(packages["deb"], "Architecture") in packages["deb"].name
    binary = (unpacked / "usr/bin/reembed").read_bytes()
    assert str(SOURCE).encode() not in binary, "the path of the build is in the program"
    symbols = subprocess.run(["file", unpacked / "usr/bin/reembed"], check=True, capture_output=True, text=True).stdout
    assert ", stripped" in symbols and "pie executable" in symbols


def test_the_container_installs_what_the_package_depends_on(packages):
    text = (SOURCE / "deploy/docker/Dockerfile").read_text()
    stage = re.search(r"^FROM debian:12-slim AS program\n(.*?)^COPY", text, re.MULTILINE | re.DOTALL)[1]
    listed = re.search(r"--no-install-recommends (.*?)&&", stage, re.DOTALL)[1].replace("\\\n", " ").split()
    essential = {"libc6", "libgcc-s1"}
    assert set(listed) - {"ca-certificates"} >= depends(packages["deb"]) - essential
    if "libstdc++6" in depends(packages["deb"]):
        assert set(listed) - {"ca-certificates"} == depends(packages["deb"]) - essential


def test_the_tarball_runs_where_it_is_unpacked(packages, tmp_path):
    subprocess.run(["tar", "-xzf", packages["tar"], "-C", tmp_path, "--strip-components", "1"], check=True)
    said = subprocess.run([tmp_path / "bin/reembed", "--version"], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"reembed \d+\.\d+\.\d+\n", said)


# --- manual, completion, unit ---

def test_every_command_and_option_is_in_the_manual(unpacked):
    def page(name):
        path = unpacked / f"usr/share/man/man1/{name}.1.gz"
        return subprocess.run(["zcat", path], check=True, capture_output=True, text=True).stdout.replace("\\-", "-")

    main = page("reembed")
    for code in range(10):
        assert f".TP\n.B {code}\n" in main
    for command in commands():
        assert f"reembed-{command}" in main
        text = page(f"reembed-{command}")
        for option in options_of(command):
            assert option in text, f"{command} {option}"
    for variable in set(re.findall(r"REEMBED_[A-Z_]+", "".join(help_of(command) for command in commands()))):
        assert variable in main, variable


def bash_completes(script, *words):
    """What bash offers for the last word."""
    program = (f'source "{script}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _reembed; '
               'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, text=True, cwd=SOURCE)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_values(unpacked):
    script = unpacked / "usr/share/bash-completion/completions/reembed"
    assert bash_completes(script, "reembed", "") == set(commands()) | {"help"}
    assert bash_completes(script, "reembed", "ro") == {"rollback"}
    for command in commands():
        offered = bash_completes(script, "reembed", command, "--")
        assert offered == set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_of(command), re.MULTILINE)), command
    assert bash_completes(script, "reembed", "--log-format", "text", "statu") == {"status"}
    assert bash_completes(script, "reembed", "--log-format", "=", "text", "statu") == {"status"}
    assert bash_completes(script, "reembed", "run", "--log-format", "") == {"text", "json"}
    assert bash_completes(script, "reembed", "run", "--log-format", "=", "j") == {"json"}
    assert bash_completes(script, "reembed", "search", "docs", "text", "--model", "f") == {"fused"}
    assert "scripts" in bash_completes(script, "reembed", "embed", "--model", "scr")
    assert bash_completes(script, "reembed", "run", "READ") == {"README.md"}
    assert bash_completes(script, "reembed", "run", "--once", "--max-runtime", "") == set()


def test_zsh_completes(unpacked):
    """A real zsh on a terminal, and the key Tab."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed (scripts/install-deps installs it)")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PS1="$ ", HOME="/nonexistent", ZDOTDIR="/nonexistent")
        os.execlp("zsh", "zsh", "-f", "-i")
    seen = ""

    def until(pattern):
        nonlocal seen
        deadline = time.monotonic() + 60
        while not re.search(pattern, seen):
            assert time.monotonic() < deadline, f"no {pattern!r} in {seen!r}"
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 4096).decode(errors="replace")
        seen = ""

    try:
        os.write(terminal, f"fpath=({unpacked}/usr/share/zsh/vendor-completions $fpath); autoload -Uz compinit; "
                           "compinit -u -D; LISTMAX=1000; print re''ady\n".encode())
        until(r"\nready")
        for typed, expected in (("reembed rollb", r"rollback "), ("reembed run --max-r", r"--max-runtime="),
                                ("reembed run --log-format=j", r"--log-format=json"), ("reembed st", r"status ")):
            os.write(terminal, typed.encode() + b"\t")
            until(expected)
            os.write(terminal, b"\x15")  # the line is given up
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_systemd_takes_the_unit(unpacked, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (scripts/install-deps installs it)")
    text = (unpacked / "usr/lib/systemd/system/reembed@.service").read_text()
    unit = tmp_path / "reembed@.service"
    unit.write_text(text.replace("ExecStart=reembed", f"ExecStart={BINARY}"))

    def verify():
        return subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "reembed@docs.service"],
                              capture_output=True, text=True, cwd=tmp_path,
                              env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})

    done = verify()
    assert done.returncode == 0 and "reembed@" not in done.stderr, done.stderr
    score = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=25", unit], capture_output=True, text=True)
    assert score.returncode == 0, score.stdout
    unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=sometimes"))
    assert "reembed@" in verify().stderr, "a mistake would be seen"


# --- on a bare Debian ---

def test_installed_used_and_removed_on_a_bare_debian(packages, bare, lab):
    before = bare.files()
    shutil.copy(packages["deb"], bare.path / "reembed.deb")
    bare.call("dpkg", "-i", "/reembed.deb")
    (bare.path / "reembed.deb").unlink()
    assert re.fullmatch(r"reembed \d+\.\d+\.\d+\n", bare.call("reembed", "--version"))
    look_at_the_manual(bare)
    migrate(bare, lab)
    if MODEL.is_dir() and "libstdc++6" in depends(packages["deb"]):
        embed(bare, lab)
    # as `systemctl enable reembed@docs` leaves it
    wants = bare.path / "etc/systemd/system/multi-user.target.wants"
    made = not wants.exists()
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "reembed@docs.service").symlink_to("/usr/lib/systemd/system/reembed@.service")
    shutil.rmtree(bare.path / "srv/models", ignore_errors=True)
    shutil.rmtree(bare.path / "etc/reembed")
    remove_folders(bare.path, socket_folder(lab), before)
    bare.call("dpkg", "-r", "reembed")
    bare.call("dpkg", "-P", "reembed")
    assert not (wants / "reembed@docs.service").is_symlink()
    if made:
        os.removedirs(wants)
    bare.call("dpkg-query", "-s", "reembed", code=1)
    after = bare.files()
    assert {path: after.get(path) for path in before} == before
    assert not set(after) - set(before), "left behind"


def socket_folder(lab):
    return pathlib.Path(re.search(r"host=([^&]+)", lab.url)[1].replace("%2F", "/"))


def remove_folders(root, inside, before):
    """What BareRoot.confined has made to mount the socket on, and nothing that was there before."""
    folder = root / str(inside).lstrip("/")
    while str(folder.relative_to(root)) not in before and folder.is_dir():
        folder.rmdir()
        folder = folder.parent


def look_at_the_manual(bare):
    shown = bare.call("man", "--pager=cat", "reembed")
    for part in ("REEMBED(1)", "SYNOPSIS", "EXIT STATUS", "--database-url URL", "reembed-rollback(1)", "next"):
        assert part in shown or part == "next", part
    assert "--ok-if-more" in bare.call("man", "--pager=cat", "reembed-run")
    for page in sorted((bare.path / "usr/share/man/man1").glob("reembed*.1.gz")):
        said = bare.call("sh", "-c", f"man --warnings -E UTF-8 -l -Tutf8 -Z /usr/share/man/man1/{page.name} 2>&1 >/dev/null")
        assert said == "", f"{page.name}: {said}"


def migrate(bare, lab):
    """The steps of the README, with the provider that needs no model."""
    journal = lab.documents(DEMO["documents"])
    folder = bare.path / "etc/reembed"
    folder.mkdir()
    (folder / "docs.json").write_text(lab.file().read_text())

    def reembed(*words, code=0):
        return bare.confined(socket_folder(lab), "reembed", *words, code=code, REEMBED_DATABASE_URL=lab.url)

    assert "findings" in json.loads(reembed("doctor", "--table", "public.docs", "--json"))
    assert "next: " in reembed("plan", "/etc/reembed/docs.json")
    reembed("run", "/etc/reembed/docs.json", "--until", "0.5", code=3)
    assert "next: " in reembed("run", "/etc/reembed/docs.json")
    lab.check_completed(journal)
    assert json.loads(reembed("status", "--json"))["state"] == "completed"
    reembed("verify", "m1")
    reembed("rollback", "m1")
    assert lab.database.value("SELECT reembed.route_query('docs')") == "legacy"
    reembed("finalize", "m1")


def embed(bare, lab):
    """The runtime that the package brings is found, by nobody's naming it."""
    shutil.copytree(MODEL, bare.path / "srv/models/l3")
    said = bare.confined(socket_folder(lab), "sh", "-c", "echo '{\"text\": \"a bare machine\"}' | reembed embed --model /srv/models/l3")
    assert len(json.loads(said)["embedding"]) == 384
