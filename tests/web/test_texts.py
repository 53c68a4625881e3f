"""The page's own modules, run by node: texts with plurals, words as they are typed, and SHA-256 against Python's."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JS = Path(__file__).parents[2] / "inksight" / "web" / "js"

# What the modules expect of a browser when they are loaded.
BROWSER = """
globalThis.navigator ??= { languages: [] };
globalThis.localStorage = { getItem: () => null, setItem() {} };
const events = { addEventListener() {}, removeEventListener() {} };
Object.assign(globalThis, events);
globalThis.document = { documentElement: {}, createElement: () => ({}), ...events };
"""


def node(require: Callable[..., str], program: str) -> Any:
    """Run a module; `load(name)` in it imports one of the page's. Return what it wrote as JSON."""
    load = f"const load = (name) => import({json.dumps(JS.as_uri() + '/')} + name);"
    done = subprocess.run(
        [require("node", "nodejs"), "--input-type=module", "-"],
        input=f"{BROWSER}{load}{program}", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("language", "points", "summary"),
    [
        ("en", ["0 points", "1 point", "2 points", "1,200 points"], "1 of 6 words recognised, at best 1 in a row."),
        ("fr", ["0 point", "1 point", "2 points", "1,200 points"], "1 mot sur 6 reconnu, au mieux 1 d’affilée."),
    ],
)
def test_numbers_have_their_form_of_the_word(
    require: Callable[..., str], language: str, points: list[str], summary: str
) -> None:
    said = node(require, f"""
        const {{ setLanguage, t }} = await load("i18n.js");
        setLanguage("{language}");
        const points = ["0", "1", "2", "1,200"].map((count) => t("game.points", {{ points: count }}));
        const summary = t("pictionary.summary", {{ won: "1", rounds: "6", streak: "1" }});
        console.log(JSON.stringify({{ points, summary }}));
    """)  # fmt: skip
    assert [text.replace("\u00a0", " ") for text in said["points"]] == points
    assert said["summary"] == summary


def test_classes_that_were_not_compared_are_told(require: Callable[..., str]) -> None:
    said = node(require, """
        const { gateText } = await load("gates.js");
        const told = (unmeasured) => gateText({ reason: "classes", values: { of: 3, margin: 0.02, unmeasured } });
        console.log(JSON.stringify([told(undefined), told(0), told(1), told(2)]));
    """)  # fmt: skip
    assert said[0] == said[1] == "None of the 3 classes is worse beyond the margin of 2.00%."
    assert [text.removeprefix(said[0]) for text in said[2:]] == [
        " 1 class had no pictures to compare.",
        " 2 classes had no pictures to compare.",
    ]


def test_both_languages_have_the_same_places_to_fill() -> None:
    def places(language: str) -> dict[str, set[str]]:
        text = (JS / "lang" / f"{language}.js").read_text(encoding="utf-8")
        return {
            key: set(re.findall(r"\{(\w+)", said)) for key, said in re.findall(r'^    "([\w.]+)": "(.*)",$', text, re.M)
        }

    english, french = places("en"), places("fr")
    assert len(english) > 200
    assert {key: names for key, names in english.items() if french[key] != names} == {}


def test_words_are_found_as_they_are_typed(require: Callable[..., str]) -> None:
    found = node(require, """
        const { plain } = await load("picker.js");
        const pairs = [["œil", "oeil"], ["nœud papillon", "noeud"], ["pomme d’or", "d'or"], ["Éléphant", "elep"]];
        console.log(JSON.stringify(pairs.map(([word, typed]) => plain(word).includes(plain(typed)))));
    """)  # fmt: skip
    assert found == [True] * 4


def test_a_race_that_lets_nobody_in_is_given_up(require: Callable[..., str]) -> None:
    """Refused three times while the server answers; not while it is away, nor when a line came through."""
    ended = node(require, """
        const { Table } = await load("table.js");
        const seen = [];
        globalThis.sessionStorage = { getItem: () => null };
        document.baseURI = "http://here/";
        globalThis.setTimeout = (act, wait) => (wait < 5000 ? setImmediate(act) : 0);
        async function play(tries) {
          let made = 0;
          let end = null;
          const asked = [];
          const table = new Table("abc", { onlost() {}, onend: ({ status }) => { end = status; } });
          globalThis.fetch = async () => {
            const status = asked.shift();
            if (status === 0) throw new TypeError();
            return { ok: status === 200, status, json: async () => ({}) };
          };
          globalThis.WebSocket = class {
            static OPEN = 1;
            readyState = 0;
            constructor() { setImmediate(() => this.meet(tries[made++])); }
            meet(found) {
              if (found === undefined) return;
              if (found === "open") { this.readyState = 1; this.onopen(); this.readyState = 3; }
              else asked.push(found);
              this.onclose({ code: 1006 });
            }
            send() {}
            close() {}
          };
          table.join("Ada");
          for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate);
          return [end, made];
        }
        for (const tries of [[200, 200, 200, 200], [200, 200, 0, 200, 200], [200, 200, "open", 200, 200], [0, 404]]) {
          seen.push(await play(tries));
        }
        console.log(JSON.stringify(seen));
    """)  # fmt: skip
    assert [status for status, _ in ended] == [403, None, None, 404]
    assert [made >= 5 for _, made in ended[1:3]] == [True, True], "it goes on trying"


def test_sha256_without_the_browsers_own(require: Callable[..., str]) -> None:
    texts = ["", "abc", "salt:œil", *("x" * length for length in range(50, 130)), "y" * 1000]
    program = f"""
        const {{ plain }} = await load("sha256.js");
        const digest = (text) => Buffer.from(plain(new TextEncoder().encode(text))).toString("hex");
        console.log(JSON.stringify({json.dumps(texts)}.map(digest)));
    """
    assert node(require, program) == [hashlib.sha256(text.encode()).hexdigest() for text in texts]
