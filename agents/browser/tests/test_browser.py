# SPDX-License-Identifier: Apache-2.0
"""The browser script in a real Chromium, behind a real nginx with the snippets, under a strict policy of what may be loaded."""

import collections
import gzip
import json
import re
import threading
import time
import unittest
import urllib.request

from pages import BAR, CONTRAST, HERE, PATIENCE, Page, PageTests, Site


class BrowserTests(PageTests):
    # The mode

    def test_the_proxy_says_mode_and_release_without_an_agent_and_the_applications_mode_is_the_proxys(self):
        def ask():
            with urllib.request.urlopen(self.site.url + "/_sluice/mode.json") as answer:
                return json.load(answer)["readOnly"], answer.headers["X-Sluice-Release"], answer.headers["Cache-Control"]
        self.assertEqual(ask(), (False, "1-v1.0123456789ab", "no-store"))
        self.site.close_gate()
        self.site.flip("v2")
        self.assertEqual(ask(), (True, "2-v2.0123456789ab", "no-store"))

    def test_a_page_is_never_called_newer_than_it_is(self):
        pairs = collections.Counter()

        def ask():
            for _ in range(10):
                with urllib.request.urlopen(self.site.url + "/own") as answer:
                    text = answer.read().decode()
                pairs[re.search('data-release="\\d-(v.)', text).group(1), re.search("<html lang='de' data-release='(v.)'", text).group(1)] += 1
        for _ in range(8):
            self.site.flip("v1")
            readers = [threading.Thread(target=ask) for _ in range(4)]
            for one in readers:
                one.start()
            for release in ("v2", "v3"):
                time.sleep(0.02)
                self.site.flip(release)
            for one in readers:
                one.join()
        self.assertGreater(len({page for _, page in pairs}), 1, pairs)
        self.assertEqual([(name, page) for name, page in pairs if name > page], [], pairs)

    def test_the_script_is_small(self):
        self.assertLessEqual(len(gzip.compress((HERE.parent / "sluice.js").read_bytes(), 9)), 8192)

    def test_a_page_from_before_the_window_is_told_when_it_begins_and_when_it_ends(self):
        page = self.open("/")
        self.assertEqual(page.run("document.documentElement.dataset.sluice"), "normal")
        page.until_silent()
        self.site.close_gate(message="Back at ten.")
        page.until_said("Back at ten.")
        self.assertTrue(page.run("document.documentElement.dataset.sluice === 'read-only' && sluice.readOnly"))
        self.site.open_gate()
        page.until("!sluice.readOnly && !(%s).innerText.includes('Back at ten.')" % BAR)
        page.until_silent()

    def test_a_page_loaded_in_the_window_says_so_from_its_beginning_and_one_after_it_does_not(self):
        self.site.close_gate()
        page = self.open("/")
        page.until_said("You can read everything")
        self.site.open_gate()
        self.assertEqual(self.open("/").text(), "")

    def test_a_tab_that_slept_through_the_beginning_learns_it_when_it_wakes(self):
        page = self.open("/")
        page.call("Page.setWebLifecycleState", state="frozen")
        self.site.close_gate()
        time.sleep(1)
        page.call("Page.setWebLifecycleState", state="active")
        page.until_said("You can read everything")

    # Hearing it as it happens. Asking would come too late here: it is a minute apart.

    def listening(self, **more):
        self.site.close()
        self.site = Site(events=True, **{"every": 60, **more})
        return self.site.events

    def test_every_open_tab_hears_what_happens_in_its_order_and_a_browser_has_one_stream(self):
        events = self.listening()
        pages = [self.open("/") for _ in range(3)]
        for page in pages:
            page.run("window.heard = []; addEventListener('sluice:mode', e => heard.push(e.detail.readOnly)); 1")
        self.until(lambda: len(events.open) == 1)
        self.site.close_gate(message="Back at ten.")
        for page in pages:
            page.until_said("Back at ten.")
        self.site.flip("v2")
        for page in pages:
            page.until("sluice.release.startsWith('2-v2')")
        self.assertEqual(len(events.open), 1)
        self.assertEqual([page.run("[document.documentElement.dataset.release, heard]") for page in pages], [["v1", [True]]] * 3)
        pages.append(self.open("/"))
        pages[-1].until_said("Back at ten.")
        self.site.open_gate()
        for page in pages:
            page.until("document.documentElement.dataset.release === 'v2' && window.sluice?.release && !sluice.readOnly")
            page.until_silent()
        # Each of the three old ones once, and the one of the window not at all.
        self.assertEqual([release for release, _ in self.site.shown], ["v1"] * 3 + ["v2"] * 4)

    def test_a_window_that_is_announced_is_counted_down_by_the_minute_and_then_begins_or_does_not(self):
        self.listening()
        page = self.open("/form")
        self.site.announce(290)
        page.until_said("Saving pauses in about 5 min")
        self.site.announce(50)
        page.until_said("Saving pauses in about 1 min")
        page.picture("soon")
        self.assertEqual(page.run("[sluice.readOnly, document.querySelector('[name=text]').readOnly]"), [False, False])
        self.site.close_gate(message="Back at ten.")
        page.until("(%s).innerText.trim() === 'Back at ten.'" % BAR)
        self.site.open_gate()
        page.until_silent()
        self.site.announce(50)
        page.until_said("Saving pauses in about 1 min")
        self.site.open_gate()
        page.until_silent()

    def test_when_the_tab_that_listens_is_closed_another_one_does(self):
        events = self.listening()
        first, second = self.open("/"), self.open("/")
        self.until(lambda: len(events.open) == 1)
        for page in (first, second):
            self.pages.remove(page)
            other = self.open("/")
            self.tools.call("Target.closeTarget", targetId=page.target)
            # What the next one hears by its own stream or another's.
            self.site.close_gate(message="Back at ten.")
            other.until_said("Back at ten.")
            self.site.open_gate()
            other.until("!sluice.readOnly")
        self.until(lambda: len(events.open) == 1)

    def test_an_agent_that_comes_back_tells_what_is_so_by_then(self):
        events = self.listening()
        page = self.open("/")
        self.until(lambda: len(events.open) == 1)
        # Nobody hears this one: it is said while the stream is away.
        self.site._mode = {"readOnly": True, "message": "Back at ten.", "writes": {"kind": "hold"}}
        events.end_all()
        self.site.tell()
        page.until_said("Back at ten.")

    def test_where_a_stream_is_refused_or_missing_the_page_asks_now_and_then(self):
        self.listening(every=0.2).refuses = True
        page = self.open("/")
        page.until("performance.getEntriesByType('resource').some(e => e.name.endsWith('/_sluice/events'))")
        self.site.close_gate(message="Back at ten.")
        page.until_said("Back at ten.")
        self.assertEqual(self.site.events.open, [])

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_without_an_answer_the_page_is_as_without_the_script(self):
        (self.site.directory / "nginx" / "sluice-browser.conf").write_text("")
        self.site.nginx.send_signal(1)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(self.site.url + "/_sluice/mode.json").close()
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    break
            self.assertLess(time.monotonic(), deadline)
        page = Page(self.tools, self.site.url)
        self.pages.append(page)
        page.go("/form")
        page.type("[name=text]", "x")
        page.run("document.querySelector('#write button').click()")
        page.until("location.pathname === '/saved/k-1'")

    def test_words_can_be_given_in_the_pages_language_and_the_notice_a_place_of_its_own(self):
        self.site.close_gate()
        page = self.open("/texts")
        page.until_said("Wartung: nur lesen.")
        self.assertEqual(page.until("document.querySelector('.sluice-reason')?.textContent"), "Nur lesen.")
        page = self.open("/own")
        page.until("document.querySelector('[data-sluice-notice]').innerText !== undefined && document.querySelector('[data-sluice-notice] > div')?.shadowRoot")
        self.assertEqual(page.run("getComputedStyle(document.querySelector('[data-sluice-notice] > div')).position"), "static")

    # What people type

    def test_forms_and_editable_regions_are_closed_with_the_reason_while_writes_are_refused_and_open_again_as_they_were(self):
        page = self.open("/form")
        before = page.run("document.body.innerHTML")
        page.type("[name=text]", "half a sen")
        self.site.close_gate("refuse")
        page.until_said("You can read everything")
        page.until("document.querySelector('.sluice-reason')")
        state = page.run("""(() => { const f = n => document.querySelector(`#write [name=${n}]`), b = document.querySelector('#write button');
            const reason = document.querySelector('.sluice-reason');
            return {readOnly: f('text').readOnly && f('title').readOnly, disabled: [f('kind'), f('public'), b].map(e => e.getAttribute('aria-disabled')),
                described: [f('text'), b].every(e => e.getAttribute('aria-describedby') === reason.id), note: document.getElementById('note').isContentEditable,
                search: document.querySelector('#search [name=q]').readOnly, focused: document.activeElement === f('text'), value: f('text').value}; })()""")
        self.assertEqual(state, {"readOnly": True, "disabled": ["true"] * 3, "described": True, "note": False, "search": False,
                                 "focused": True, "value": "half a sen"})
        page.type("[name=text]", "more")
        page.run("document.querySelector('[name=public]').click(); document.querySelector('#write button').click()")
        self.assertEqual(page.run("[document.querySelector('[name=text]').value, document.querySelector('[name=public]').checked, location.pathname]"),
                         ["half a sen", False, "/form"])
        self.site.open_gate()
        page.until("!document.querySelector('.sluice-reason')")
        self.assertEqual(page.run("document.body.innerHTML").split("<div data")[0].split('<div></div>')[0], before.split("<div></div>")[0])
        page.type("[name=text]", "tence")
        page.run("document.querySelector('#write button').click()")
        page.until("location.pathname === '/saved/k-1'")
        self.assertEqual([given["text"] for _, given in self.site.saved], ["half a sentence"])

    def test_a_form_that_comes_into_the_page_in_the_window_is_closed_too(self):
        self.site.close_gate("refuse")
        page = self.open("/")
        page.until_said("You can read everything")
        page.run("document.body.append(Object.assign(document.createElement('form'), {method: 'post', action: '/save', id: 'late'}));"
                 "document.getElementById('late').append(document.createElement('textarea'))")
        page.until("document.querySelector('#late textarea').readOnly")

    def test_a_form_that_is_sent_while_writes_are_held_waits_and_is_sent_once_when_the_gate_opens(self):
        page = self.open("/form")
        self.site.close_gate("hold")
        page.until_said("You can read everything")
        page.type("[name=text]", "patience")
        page.run("document.querySelector('#write button').click(); document.querySelector('#write button').click()")
        page.until_said("What you sent is waiting")
        self.assertEqual(page.run("document.getElementById('write').getAttribute('aria-busy')"), "true")
        self.assertEqual(self.site.saved, [])
        self.site.flip("v2")
        self.site.open_gate()
        page.until("location.pathname === '/saved/k-1'")
        self.assertEqual([(release, given["text"]) for release, given in self.site.saved], [("v2", "patience")])

    def test_who_does_not_want_to_wait_takes_it_back(self):
        page = self.open("/form")
        self.site.close_gate("hold")
        page.until_said("You can read everything")
        page.type("[name=text]", "patience")
        page.run("document.querySelector('#write button').click()")
        page.until_said("What you sent is waiting")
        page.press("Do not send")
        self.site.open_gate()
        page.until("!sluice.readOnly")
        page.until_silent()
        self.assertEqual((self.site.saved, page.run("document.querySelector('[name=text]').value")), ([], "patience"))

    def test_what_was_typed_is_offered_again_after_a_reload_and_not_after_it_was_sent(self):
        page = self.open("/form")
        page.type("[name=text]", "not to be lost")
        page.run("document.querySelector('[name=title]').select()")
        page.call("Input.insertText", text="another title")
        page.type("#note", "kept ")
        page.call("Page.reload")
        page.until_said("You had typed something here")
        page.press("Put it back")
        self.assertEqual(page.run("['text', 'title'].map(n => document.querySelector(`[name=${n}]`).value)"), ["not to be lost", "another title"])
        self.assertIn("kept", page.run("document.getElementById('note').innerText"))
        page.run("document.querySelector('#write button').click()")
        page.until("location.pathname === '/saved/k-1' && window.sluice?.release")
        page.until("sessionStorage.getItem('sluice:typed:/form') === null || !sessionStorage.getItem('sluice:typed:/form').includes('not to be lost')")

    def test_a_secret_is_kept_nowhere(self):
        page = self.open("/form")
        page.run("document.querySelector('[name=title]').type = 'password'")
        page.type("[name=title]", "sesame")
        page.type("[name=text]", "open")
        self.assertNotIn("sesame", page.run("JSON.stringify({...sessionStorage})"))

    def test_of_fifty_forms_half_typed_no_input_is_lost_and_each_is_sent_once(self):
        self.site.close()
        self.site = Site(every=2)
        page = self.open("/many")
        # frames is no list.
        page.run("window.all = () => Array.from({length: frames.length}, (_, n) => frames[n]); 1")
        page.until("all().length === 50 && all().every(f => f.sluice?.release && f.document.readyState === 'complete')")
        for number in range(50):
            page.run("frames[%d].focus(); frames[%d].document.querySelector('textarea').focus()" % (number, number))
            page.call("Input.insertText", text="number %d, half" % number)
        self.site.close_gate("hold")
        page.until("all().every(f => f.sluice.readOnly)")
        self.site.flip("v2")
        # Half of them press their button in the window, half after it.
        page.run("all().forEach((f, n) => n % 2 && f.document.querySelector('form button').click())")
        self.site.open_gate()
        page.until("all().every((f, n) => n % 2 === 0 || f.location.pathname.startsWith('/saved/'))")
        page.until("all().every(f => f.sluice && !f.sluice.readOnly)")
        page.run("all().forEach((f, n) => n % 2 || f.document.querySelector('form button').click())")
        page.until("all().every(f => f.location.pathname.startsWith('/saved/'))")
        self.assertEqual(sorted((int(given["request_id"]), given["text"]) for _, given in self.site.saved),
                         [(number, "number %d, half" % number) for number in range(50)])

    # Programs

    def test_a_call_that_was_refused_is_made_again_with_the_same_key_until_it_is_taken(self):
        page = self.open("/")
        self.site.refuse_calls = 2
        status = page.run("fetch('/api', {method: 'POST', body: '{\"n\": 1}', headers: {'Content-Type': 'application/json'}}).then(r => r.status)")
        self.assertEqual(status, 200)
        self.assertEqual([body for _, body in self.site.called], ['{"n": 1}'] * 3)
        self.assertEqual(len({key for key, _ in self.site.called}), 1)
        self.assertTrue(self.site.called[0][0])

    def test_a_call_that_the_gate_refused_goes_through_after_the_lift(self):
        page = self.open("/")
        self.site.close_gate("refuse")
        page.run("window.answered = fetch('/api', {method: 'PUT', body: 'x'}).then(r => r.status); 1")
        page.until_said("You can read everything")
        self.assertEqual(self.site.called, [])
        self.site.open_gate()
        # The application knows no PUT; what counts is that it was asked.
        self.assertEqual(page.run("answered"), 501)

    # The release after

    def test_a_page_of_the_release_before_is_renewed_after_the_lift_once_and_keeps_still_in_the_window(self):
        page = self.open("/")
        self.site.close_gate()
        page.until_said("You can read everything")
        self.site.flip("v2")
        page.until("sluice.release.startsWith('2-v2')")
        self.assertEqual(page.run("document.documentElement.dataset.release"), "v1")
        self.site.open_gate()
        page.until("document.documentElement.dataset.release === 'v2' && window.sluice?.release")
        self.site.flip("v3")
        page.until("document.documentElement.dataset.release === 'v3'")
        self.assertEqual([release for release, _ in self.site.shown], ["v1", "v2", "v3"])

    def test_a_page_that_stays_old_whatever_one_does_is_renewed_no_second_time(self):
        page = self.open("/")
        config = self.site.directory / "nginx" / "sluice-page.conf"
        config.write_text(config.read_text().replace('data-release="$sluice_page"', 'data-release="v0"'))
        self.site.nginx.send_signal(1)
        self.site.flip("v2")
        page.until("document.documentElement.dataset.release === 'v2' && window.sluice?.release")
        looks = page.run("performance.getEntriesByType('resource').filter(e => e.name.endsWith('mode.json')).length")
        page.until("performance.getEntriesByType('resource').filter(e => e.name.endsWith('mode.json')).length > %d + 4" % looks)
        self.assertEqual([release for release, _ in self.site.shown], ["v1", "v2"])

    def test_a_page_in_which_somebody_types_or_listens_is_not_renewed_but_offered_to_be(self):
        typing, playing = self.open("/form"), self.open("/playing")
        typing.type("[name=text]", "in the middle")
        playing.call("Runtime.evaluate", expression="document.getElementById('sound').play()", userGesture=True, awaitPromise=True)
        self.site.flip("v2")
        for page in (typing, playing):
            page.call("Page.bringToFront")
            page.until_said("There is a new version of this page.")
            self.assertEqual(page.run("document.documentElement.dataset.release"), "v1")
        typing.picture("offer")
        playing.run("document.getElementById('sound').pause()")
        playing.until("document.documentElement.dataset.release === 'v2'")
        typing.call("Page.bringToFront")
        typing.press("Load it")
        typing.until("document.documentElement.dataset.release === 'v2'")
        typing.until_said("You had typed something here")
        typing.press("Put it back")
        self.assertEqual(typing.run("document.querySelector('[name=text]').value"), "in the middle")

    def test_a_part_of_the_page_that_is_gone_renews_the_page_once(self):
        page = self.open("/")
        lazy = "document.head.append(Object.assign(document.createElement('script'), {src: '/lazy.js?' + document.documentElement.dataset.release}))"
        self.site.close_gate()
        page.until_said("You can read everything")
        self.site.flip("v2")
        page.run(lazy)
        page.until("document.documentElement.dataset.release === 'v2' && window.sluice?.release")
        page.run(lazy)
        page.until("document.documentElement.dataset.lazy === 'v2'")
        page.run("document.head.append(Object.assign(document.createElement('script'), {src: '/lazy.js?nothing'}))")
        page.run("sluice.look()")
        page.run("sluice.look()")
        self.assertEqual([release for release, _ in self.site.shown], ["v1", "v2"])

    def test_a_page_that_an_applications_own_worker_has_in_store_is_renewed_through_the_workers_successor(self):
        page = self.open("/stored")
        page.until("navigator.serviceWorker.controller !== null")
        page.call("Page.reload")
        page.until("performance.getEntriesByType('navigation')[0].type === 'reload' && window.sluice?.release")
        self.site.flip("v2")
        page.until("document.documentElement.dataset.release === 'v2' && window.sluice?.release")
        self.assertEqual(page.run("caches.keys()"), ["pages-v2"])
        # Nothing is left that would serve the old page.
        self.site.flip("v3")
        page.until("document.documentElement.dataset.release === 'v3' && window.sluice?.release")

    # How it looks

    def test_the_notice_can_be_read_by_everybody_and_lies_over_nothing(self):
        for width, height, scheme in ((1280, 800, "light"), (1280, 800, "dark"), (360, 640, "light"), (320, 568, "dark")):
            page = self.open("/")
            self.dress(page, width, height, scheme)
            self.site.close_gate()
            page.until_said("You can read everything")
            page.picture("notice-%s-%d" % (scheme, width))
            seen = page.run("""(async () => {
                const bar = %s, style = getComputedStyle(bar);
                // The last link of the page, reached by the keyboard, and the end of the page.
                const link = document.querySelector('#last a'); link.focus();
                await new Promise(requestAnimationFrame);
                const focused = link.getBoundingClientRect().bottom <= bar.getBoundingClientRect().top;
                scrollTo(0, 1e6);
                await new Promise(requestAnimationFrame);
                return {contrast: %s(style.color, style.backgroundColor), focused, end: document.getElementById('last').getBoundingClientRect().bottom <= bar.getBoundingClientRect().top,
                    wide: document.documentElement.scrollWidth > innerWidth, inside: bar.scrollWidth <= bar.clientWidth, height: bar.offsetHeight / innerHeight,
                    label: bar.getAttribute('aria-label')}; })()""" % (BAR, CONTRAST))
            self.assertGreaterEqual(seen["contrast"], 7, (width, scheme))
            self.assertLessEqual(seen["height"], 0.4)
            self.assertEqual((seen["focused"], seen["end"], seen["wide"], seen["inside"], seen["label"]), (True, True, False, True, "Maintenance"))
            self.site.open_gate()
            page.until_silent()
            self.assertEqual(page.run("[getComputedStyle(document.documentElement).paddingBottom, (%s).offsetHeight <= 1]" % BAR), ["0px", True])

    def test_a_form_that_waits_says_so_beside_a_button_that_the_keyboard_reaches(self):
        page = self.open("/form")
        self.site.close_gate("hold")
        page.until_said("You can read everything")
        page.type("[name=text]", "x")
        page.run("document.querySelector('#write button').click()")
        page.until_said("What you sent is waiting")
        page.picture("waiting")
        size = page.run("(() => { const b = (%s).querySelector('button'); b.focus(); return [b.getRootNode().activeElement === b, b.offsetHeight, b.textContent]; })()" % BAR)
        self.assertEqual((size[0], size[2]), (True, "Do not send"))
        self.assertGreaterEqual(size[1], 24)

    def test_closed_forms_say_why_where_they_are_and_are_laid_out_as_before(self):
        for width, scheme in ((1280, "light"), (320, "dark")):
            page = self.open("/form")
            self.dress(page, width, 640, scheme)
            page.type("[name=text]", "half a sentence")
            boxes = "[...document.querySelectorAll('#write input:not([type=hidden]), #write textarea, #write select, #write button')].map(e => e.getBoundingClientRect())"
            before = page.run(boxes + ".map(b => [b.width, b.height])")
            self.site.close_gate("refuse")
            page.until("document.querySelector('.sluice-reason')")
            page.picture("closed-form-%s-%d" % (scheme, width))
            self.assertEqual(page.run(boxes + ".map(b => [b.width, b.height])"), before)
            seen = page.run("""(() => { const reason = document.querySelector('#write .sluice-reason'), box = reason.getBoundingClientRect();
                const style = getComputedStyle(reason), boxes = %s;
                return {above: boxes.every(b => b.top >= box.bottom), width: document.documentElement.scrollWidth <= innerWidth,
                    contrast: %s(style.color, matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)'), order: boxes.every((b, n) => n === 0 || b.top >= boxes[n - 1].top)}; })()""" % (
                boxes, CONTRAST))
            self.assertEqual((seen["above"], seen["width"], seen["order"]), (True, True, True), (width, scheme))
            self.assertGreaterEqual(seen["contrast"], 7, (width, scheme))
            self.site.open_gate()
            page.until("!document.querySelector('.sluice-reason')")

    def test_several_lines_at_once_leave_room_for_the_page_and_their_buttons_apart(self):
        for width, scheme in ((1280, "dark"), (320, "light")):
            page = self.open("/form")
            self.dress(page, width, 568, scheme)
            page.type("[name=text]", "half a sentence")
            page.call("Page.reload")
            page.until_said("You had typed something here")
            self.site.close_gate("hold")
            page.until_said("You can read everything")
            page.run("document.querySelector('#write button').click()")
            page.until_said("What you sent is waiting")
            page.picture("lines-%s-%d" % (scheme, width))
            seen = page.run("""(async () => { const bar = %s, buttons = [...bar.querySelectorAll('button')], field = document.querySelector('[name=text]');
                field.focus(); field.scrollIntoView({block: 'end'});
                await new Promise(requestAnimationFrame);
                const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0;
                const boxes = buttons.map(b => b.getBoundingClientRect());
                return {names: buttons.map(b => b.textContent), apart: boxes.every((a, n) => boxes.slice(n + 1).every(b => !over(a, b))),
                    large: boxes.every(b => b.height >= 24 && b.width >= 24), within: boxes.every(b => b.left >= 0 && b.right <= innerWidth),
                    free: field.getBoundingClientRect().bottom <= bar.getBoundingClientRect().top, height: bar.offsetHeight <= .4 * innerHeight + 1,
                    reached: buttons.every(b => { b.focus(); const box = b.getBoundingClientRect(), frame = bar.getBoundingClientRect();
                        return box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1; })}; })()""" % BAR)
            self.assertEqual(seen, {"names": ["Put it back", "Discard it", "Do not send"], "apart": True, "large": True, "within": True, "free": True,
                                    "height": True, "reached": True}, (width, scheme))
            page.press("Do not send")
            page.press("Discard it")
            self.site.open_gate()
            page.until_silent()


if __name__ == "__main__":
    unittest.main()
