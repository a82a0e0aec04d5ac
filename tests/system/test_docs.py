"""What README and docs/ say is so: commands and options exist, JSON is accepted, keys, defaults and ranges are right."""
import json
import re
import subprocess

import pytest

from program import BINARY, SOURCE, clean_environment

PAGES = sorted([SOURCE / "README.md", *(SOURCE / "docs").glob("*.md")])
CONFIGURATION = SOURCE / "docs" / "configuration.md"
NOWHERE = "host=/nonexistent"
ACCEPTED, REFUSED = 4, 2  # exit codes: the file was read and the database is missing; the file was refused


def reembed(*words):
    return subprocess.run([BINARY, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env=clean_environment(OPENAI_API_KEY="unused"))


def help_of(command=None):
    done = reembed(*([command] if command else []), "--help")
    assert done.returncode == 0, f"there is no command {command}: {done.stderr}"
    return done.stdout


def commands():
    return re.findall(r"^  ([a-z]+) ", help_of().partition("\noptions\n")[0], re.MULTILINE)


def options_of(command):
    return set(re.findall(r"--[a-z][a-z-]*", help_of(command)))


# --- commands ---

def calls(page):
    """Each `reembed command --option` of a page: in code spans and in blocks of shell."""
    text = page.read_text()
    fenced = r"^```(\w*)\n(.*?)^```"
    code = [body for language, body in re.findall(fenced, text, re.MULTILINE | re.DOTALL) if language == "sh"]
    code += re.findall(r"`([^`\n]+)`", re.sub(fenced, "", text, flags=re.MULTILINE | re.DOTALL))
    for piece in code:
        for line in piece.splitlines():
            yield from re.findall(r"(?:^|[\s/;&])reembed ((?:--)?[a-z][a-z-]*\b[^#;&|]*)", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_is_named_exists(page):
    known = commands()
    for call in calls(page):
        command = call.split()[0]
        options = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", call))
        if command.startswith("--"):
            command = None
        else:
            assert command in known, f"{page.name}: reembed {call}"
        assert options <= options_of(command), f"{page.name}: reembed {call}"


def test_commands_are_found_in_the_pages():
    assert {call.split()[0] for page in PAGES for call in calls(page)} >= {"run", "plan", "status", "rollback"}


def test_commands_md_is_what_the_program_says(tmp_path):
    fresh = tmp_path / "commands.md"
    subprocess.run([SOURCE / "docs" / "make-commands", BINARY, fresh], check=True)
    assert fresh.read_text() == (SOURCE / "docs" / "commands.md").read_text(), "run docs/make-commands"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_or_named_exists(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name} links to {link}"
    for name in re.findall(r"(?<![\w/.-])(?:\./)?((?:scripts|docs|examples|tests|deploy)/[\w./-]*[\w/])", text):
        assert (SOURCE / name).exists(), f"{page.name} names {name}"


# --- links, questions, runbooks ---

def slug(heading):
    """As the hosts of Markdown make anchors of headings."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().strip()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def headings(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_place_that_is_linked_exists(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if "://" not in link and anchor and target.suffix == ".md":
            assert anchor in headings(target), f"{page.name} links to {link}"


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w.-]+\.md)", (SOURCE / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in PAGES if page.name != "README.md"} == linked


def questions():
    text = (SOURCE / "docs" / "faq.md").read_text()
    return re.findall(r"^### (\d+)\. (.*\?.*)\n\n((?:(?!^###).*\n?)*)", text, re.MULTILINE)


def test_twenty_questions_have_short_answers_that_say_where_the_long_one_is():
    assert [int(number) for number, _, _ in questions()] == list(range(1, 21))
    for number, question, answer in questions():
        links = [link for link in re.findall(r"\]\(([^)]+)\)", answer) if "#" in link or link.endswith("upgrading.md")]
        assert links, f"{number}. {question}"
        assert len(answer.split()) <= 60, f"{number}. {question}: {len(answer.split())} words"


RUNBOOKS = SOURCE / "docs" / "runbooks.md"


def sections(page):
    """Heading -> text below it."""
    parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def test_every_alert_has_a_runbook_that_it_names():
    rules = (SOURCE / "deploy" / "prometheus" / "rules.yml").read_text()
    alerts = re.split(r"^\s+- alert: ", rules, flags=re.MULTILINE)[1:]
    names = [alert.split()[0] for alert in alerts]
    assert len(names) >= 9 and len(set(names)) == len(names)
    runbooks = {name: text for name, text in sections(RUNBOOKS).items() if name.startswith("Reembed")}
    assert set(runbooks) == set(names), "an alert without a runbook, or a runbook without an alert"
    for name, alert in zip(names, alerts):
        assert f'runbook_url: "docs/runbooks.md#{slug(name)}"' in alert, name
        assert {"**Means:**", "**Over when:**"} <= set(re.findall(r"\*\*\w[\w ]*:\*\*", runbooks[name])), name


def test_every_exit_code_has_a_runbook():
    text = help_of().partition("exit codes:")[2].partition("\n\n")[0]
    codes = re.findall(r"(?:^|,)\s*(\d) ", text)
    assert codes == [str(code) for code in range(10)]
    runbooks = {name: text for name, text in sections(RUNBOOKS).items() if name.startswith("Exit ")}
    assert list(runbooks) == [f"Exit {code}" for code in codes]
    for name, text in runbooks.items():
        assert "**Do:**" in text or "| do |" in text, name


def test_the_programs_of_the_cookbook_are_the_files_that_are_run():
    done = subprocess.run([SOURCE / "docs" / "make-cookbook", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = set(re.findall(r"<!-- (\S+) -->", (SOURCE / "docs" / "cookbook.md").read_text()))
    programs = {str(path.relative_to(SOURCE)) for path in (SOURCE / "examples" / "applications").rglob("*")
                if path.suffix in (".py", ".js", ".go", ".java")}
    assert shown == programs and len(programs) == 4


# --- the migration file ---

BASE = {
    "id": "docs-test", "collection": "docs",
    "documents": {"table": "public.docs", "id": "id", "content": "body"},
    "source": {"model": "old", "column": "embedding"},
    "target": {"model": "new", "dimensions": 8, "provider": {"kind": "hashing"}},
}


def without_comments(text):
    """JSON of JSON with comments and with commas before closing brackets. Good enough for this project's own files."""
    text = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda match: match[1] or "", text, flags=re.DOTALL)
    return re.sub(r",(\s*[}\]])", r"\1", text)


def judge(tmp_path, text):
    """Has the program read a migration file; the database is never reached."""
    file = tmp_path / "migration.json"
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    done = reembed("run", str(file), "--yes", "--database-url", NOWHERE)
    assert done.returncode in (ACCEPTED, REFUSED), done.stderr
    return done.returncode, done.stderr


def blocks():
    for page in PAGES:
        for number, block in enumerate(re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL), 1):
            yield pytest.param(block, id=f"{page.name}-{number}")


@pytest.mark.parametrize("block", list(blocks()))
def test_every_json_block_is_a_migration_file_or_a_part_of_one(tmp_path, block):
    if block.lstrip().startswith("{"):
        code, error = judge(tmp_path, block)
    else:
        part = json.loads(without_comments("{" + block + "}"))
        file = json.loads(json.dumps(BASE))
        (file["target"] if "provider" in part else file).update(part)
        code, error = judge(tmp_path, file)
    assert code == ACCEPTED, error


def documented():
    """The rows of docs/configuration.md: key, default, range."""
    rows = {}
    for line in CONFIGURATION.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        match = re.fullmatch(r"`([a-z0-9_.]+)`", cells[0])
        if match and len(cells) >= 4:
            rows[match[1]] = (cells[1].strip("`"), cells[2])
    return rows


def leaves(value, path=""):
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else key)
    else:
        yield path, value


def complete():
    """examples/complete.json has every key; a unit test holds it against the program's own tables."""
    text = (SOURCE / "examples" / "complete.json").read_text()
    values = dict(leaves(json.loads(without_comments(text))))
    return {re.sub(r"^(source|target)\.provider\.", "provider.", key): value for key, value in values.items()}


def test_every_key_has_a_row_and_every_row_a_key():
    sections = {"target.index", "source.provider", "target.provider"}
    of_ivfflat = {"target.index.lists"}
    assert set(documented()) - sections - of_ivfflat == set(complete())


@pytest.mark.parametrize("key", [key for key in documented() if key.startswith(("backfill", "gates", "limits", "database"))])
def test_the_defaults_of_the_settings_are_those_of_the_example(key):
    assert documented()[key][0] == json.dumps(complete()[key])


ONNX = {"kind": "onnx", "path": "nowhere"}
OPENAI = {"kind": "openai", "url": "http://127.0.0.1:9/v1"}
# What a setting needs beside it.
BESIDE = {
    "target.dimensions": ("target", {"index": "none"}),
    "target.index.m": ("target", {"index": {"ef_construction": 1000}}),
    "target.index.ef_construction": ("target", {"index": {"m": 2}}),
    "target.index.lists": ("target", {"index": {"method": "ivfflat"}}),
    "limits.max_cost": ("limits", {"price_per_million_tokens": 1}),
    "provider.threads": ("target", {"provider": ONNX}),
    "provider.pooling": ("target", {"provider": ONNX}),
    "provider.timeout_secs": ("target", {"provider": OPENAI}),
    "provider.max_items": ("target", {"provider": OPENAI}),
    "provider.max_request_tokens": ("target", {"provider": OPENAI}),
    "provider.max_request_bytes": ("target", {"provider": OPENAI}),
}


def placed(key, value):
    """BASE with one setting."""
    file = json.loads(json.dumps(BASE))
    if key in BESIDE:
        section, needed = BESIDE[key]
        file.setdefault(section, {}).update(json.loads(json.dumps(needed)))
    *path, last = (f"target.{key}" if key.startswith("provider.") else key).split(".")
    section = file
    for name in path:
        section = section.setdefault(name, {})
    section[last] = value
    return file


def probes():
    """Values at both ends of each documented range, and just outside."""
    for key, (_, allowed) in documented().items():
        match = re.fullmatch(r"(above )?(-?[\d.]+)(?: to (-?[\d.]+)| or more)?(?:, whole)?", allowed)
        if match is None:
            continue
        above, low, high = match.groups()
        yield key, float(low), REFUSED if above else ACCEPTED
        yield key, float(low) + 1 if high is None or float(high) > float(low) + 1 else float(high), ACCEPTED
        if not above:
            yield key, float(low) - (0.001 if "." in low else 1), REFUSED
        if high:
            yield key, float(high), ACCEPTED
            yield key, float(high) + 1, REFUSED


@pytest.mark.parametrize("key, value, expected", list(probes()))
def test_the_ranges_are_those_of_the_program(tmp_path, key, value, expected):
    code, error = judge(tmp_path, placed(key, int(value) if value == int(value) else value))
    assert code == expected, error
    if expected == REFUSED:
        assert key.rpartition(".")[2] in error, error


def choices():
    for key, (_, allowed) in documented().items():
        words = re.findall(r"`([a-z0-9_]+)`", allowed)
        if words and key != "provider.kind":  # each kind needs other settings
            yield key, words


@pytest.mark.parametrize("key, words", list(choices()))
def test_the_words_are_those_of_the_program(tmp_path, key, words):
    for word in words:
        code, error = judge(tmp_path, placed(key, word))
        assert code == ACCEPTED, error
    assert judge(tmp_path, placed(key, "nonsense"))[0] == REFUSED
