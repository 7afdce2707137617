"""Modules become one script, or are refused."""

import pytest

from server.ui import bundle

MODULES = {
    "main.js": (
        'import { double } from "./sums.js";\n'
        'import { h } from "./vendor/lib.js";\nh(double(2));\n'
    ),
    "sums.js": (
        'import { two } from "./numbers.js";\nexport function double(x) {\n  return two * x;\n}\n'
        "const own = 1;\n"
    ),
    "numbers.js": "export const two = 2;\nconst own = 3;\n",
    "vendor/lib.js": "var e=1;function a(x){return x}export{a as h,e as one};\n",
}


def test_a_module_comes_behind_those_it_needs_and_keeps_its_own_names() -> None:
    script = bundle.bundle(MODULES, "main.js")
    order = [script.index(text) for text in ("two = 2", "function double", "h(double(2))")]
    assert order == sorted(order)
    assert "return {two};" in script
    assert "return {h: a, one: e};" in script
    assert "const {two} = m0;" in script
    assert script.count("const own") == 2
    assert "import" not in script
    assert "export" not in script


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('import x from "./numbers.js";\n', "import x from"),
        ('import { two } from "numbers";\n', 'import { two } from "numbers"'),
        ("export default 1;\n", "export default"),
        ("export let x = 1;\n", "export let"),
        ('import { y } from "./gone.js";\n', "there is no gone.js"),
        ('import { y } from "./main.js";\n', "needs itself"),
        ("const end = '</SCRIPT>';\n", "would end within the document"),
        ("const begun = '<!--';\n", "would end within the document"),
    ],
)
def test_what_has_another_form_is_refused(text: str, why: str) -> None:
    with pytest.raises(bundle.BundleError, match=why):
        bundle.bundle({**MODULES, "main.js": text}, "main.js")
