# SPDX-License-Identifier: Apache-2.0
"""What the browser script puts into a page, for people who do not see it, do not hear it, or have no mouse: names, roles, contrast, focus.

The rules are those that checkers such as axe have for what the script makes: a page's own faults are the page's.
"""

import unittest

from pages import BAR, CONTRAST, PageTests

# Of what is seen of the script's: text too faint for what is behind it, marks that lead nowhere, targets that are too small.
LOOK = """(() => {
    const bar = %s, wrong = [], contrast = %s, dark = matchMedia('(prefers-color-scheme: dark)').matches;
    const behind = e => { for (let one = e; one; one = one.parentElement ?? one.getRootNode().host) {
        const colour = getComputedStyle(one).backgroundColor;
        if (!/rgba\\(.*, 0\\)|transparent/.test(colour)) return colour; }
        return dark ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)'; };
    const ours = [bar, ...bar.querySelectorAll('*'), ...document.querySelectorAll('.sluice-reason')].filter(e => e.checkVisibility());
    for (const e of ours) {
        const style = getComputedStyle(e);
        if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) {
            const found = contrast(style.color, behind(e));
            if (found < 4.5) wrong.push(`color-contrast: ${found.toFixed(1)} of ${e.textContent.trim().slice(0, 40)}`);
            if (parseFloat(style.fontSize) < 12) wrong.push(`font-size: ${style.fontSize}`);
        }
        if (e.tabIndex > 0) wrong.push(`tabindex: ${e.localName}`);
        if (e.closest('[aria-hidden=true]') && e.tabIndex >= 0) wrong.push(`aria-hidden-focus: ${e.localName}`);
        if (e.localName === 'button' && Math.min(e.offsetWidth, e.offsetHeight) < 24) wrong.push(`target-size: ${e.textContent}`);
    }
    const names = [...document.querySelectorAll('[id]')].map(e => e.id);
    for (const name of new Set(names.filter((n, at) => names.indexOf(n) !== at))) wrong.push(`duplicate-id: ${name}`);
    for (const e of document.querySelectorAll('[aria-describedby], [aria-labelledby]'))
        for (const name of `${e.getAttribute('aria-describedby') ?? ''} ${e.getAttribute('aria-labelledby') ?? ''}`.trim().split(/\\s+/))
            if (!document.getElementById(name)) wrong.push(`aria-valid-attr-value: ${name}`);
    return wrong;
})()""" % (BAR, CONTRAST)

# Who has the focus, in the notice as well; and whether it is seen that it has.
FOCUSED = """(() => {
    let one = document.activeElement; while (one?.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
    const style = getComputedStyle(one), behind = getComputedStyle(one.getRootNode().querySelector('[role=status]') ?? document.body).backgroundColor;
    return {name: one.textContent.trim().slice(0, 40) || one.name || one.localName, isOurs: one.getRootNode() !== document,
        ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 ? %s(style.outlineColor, behind) : 0};
})()""" % CONTRAST

# What a notice is made of, as somebody hears it.
ROLES = {"status", "button", "StaticText", "InlineTextBox", "LineBreak", "generic", "none", "paragraph"}


class AccessTests(PageTests):
    def heard(self, page, expression):
        """The tree that a screen reader has, from an element on."""
        page.call("Accessibility.enable")
        target = page.call("Runtime.evaluate", expression=expression)["result"]["objectId"]
        nodes = page.call("Accessibility.queryAXTree", objectId=target)["nodes"]
        return [{"role": node["role"]["value"], "name": node.get("name", {}).get("value", "").strip(),
                 "description": node.get("description", {}).get("value", ""),
                 **{each["name"]: each["value"].get("value") for each in node.get("properties", [])}}
                for node in nodes if not node["ignored"]]

    def check(self, page, buttons):
        """Nothing of the script's is faint, small, nameless or out of the keyboard's reach; `buttons` are those that it has now."""
        self.assertEqual(page.run(LOOK), [])
        notice = self.heard(page, BAR)
        self.assertLessEqual({node["role"] for node in notice}, ROLES)
        status = [node for node in notice if node["role"] == "status"]
        self.assertEqual([(node["name"], node.get("live")) for node in status], [("Maintenance", "polite")])
        self.assertEqual([node["name"] for node in notice if node["role"] == "button"], buttons)
        self.assertEqual([node for node in notice if node["role"] == "button" and not node.get("focusable")], [])
        walked = self.walked(page)
        # In their order, from wherever the focus was before.
        self.assertIn(walked, [buttons[n:] + buttons[:n] for n in range(len(buttons))] or [[]])

    def walked(self, page):
        """The notice's buttons that Tab comes to, each with a ring that is seen; and Tab comes out of the notice again."""
        page.call("Page.bringToFront")
        page.run("document.activeElement?.blur()")
        found, was_out = [], False
        for _ in range(40):
            for kind in ("rawKeyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            focused = page.run(FOCUSED)
            if focused["isOurs"]:
                if focused["name"] in found:
                    break
                found.append(focused["name"])
                self.assertGreaterEqual(focused["ring"], 3, focused)
            else:
                was_out = was_out or bool(found)
        self.assertTrue(was_out or not found, "the focus stays in the notice")
        return found

    def in_every_dress(self, path, act):
        for width, height, scheme in ((1280, 800, "light"), (1280, 800, "dark"), (320, 568, "light"), (320, 568, "dark")):
            with self.subTest(width=width, scheme=scheme):
                page = self.open(path)
                self.dress(page, width, height, scheme)
                act(page)
                self.site.open_gate()
                page.until_silent()

    def test_the_notice_of_a_window_can_be_heard_seen_and_passed_by(self):
        def act(page):
            self.site.close_gate(message="Back at ten.")
            page.until_said("Back at ten.")
            self.check(page, [])
            self.assertIn("Back at ten.", " ".join(node["name"] for node in self.heard(page, BAR)))
        self.in_every_dress("/", act)

    def test_a_closed_form_says_of_each_field_that_it_is_closed_and_why(self):
        def act(page):
            self.site.close_gate("refuse")
            page.until("document.querySelector('#write .sluice-reason')")
            self.check(page, [])
            reason = page.run("document.querySelector('#write .sluice-reason').innerText.trim()")
            fields = [node for node in self.heard(page, "document.querySelector('#write')") if node["role"] in ("textbox", "combobox", "checkbox", "button")]
            self.assertEqual([node["role"] for node in fields], ["textbox", "textbox", "combobox", "checkbox", "button"])
            for node in fields:
                self.assertTrue(node["name"] and (node.get("readonly") or node.get("disabled")), node)
                self.assertIn(reason, node["description"])
        self.in_every_dress("/form", act)

    def test_a_form_that_waits_and_typed_input_that_is_offered_have_buttons_for_everybody(self):
        def act(page):
            page.type("[name=text]", "half a sentence")
            page.call("Page.reload")
            page.until_said("You had typed something here")
            self.check(page, ["Put it back", "Discard it"])
            self.site.close_gate("hold")
            page.until_said("You can read everything")
            page.run("document.querySelector('#write button').click()")
            page.until_said("What you sent is waiting")
            self.check(page, ["Put it back", "Discard it", "Do not send"])
            page.press("Do not send")
            page.press("Discard it")
        self.in_every_dress("/form", act)

    def test_a_new_version_is_offered_with_a_button_that_the_keyboard_reaches_and_presses(self):
        page = self.open("/form")
        page.type("[name=text]", "in the middle")
        self.site.flip("v2")
        page.until_said("There is a new version of this page.")
        self.check(page, ["Load it"])
        page.run("%s.querySelector('button').focus()" % BAR)
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
        page.until("document.documentElement.dataset.release === 'v2'")

    def test_a_countdown_is_not_read_out_again_each_second(self):
        self.site.close()
        self.site = type(self.site)(events=True, every=60)
        page = self.open("/")
        page.run("window.changes = 0; 1")
        self.site.announce(290)
        page.until_said("Saving pauses in about 5 min")
        page.run("new MutationObserver(all => window.changes += all.length).observe(%s, {subtree: true, childList: true, characterData: true}); 1" % BAR)
        page.run("new Promise(done => setTimeout(done, 2500))")
        self.assertEqual(page.run("window.changes"), 0)
        self.check(page, [])


if __name__ == "__main__":
    unittest.main()
