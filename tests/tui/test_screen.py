"""The whole screen over a store: panes, layouts, ways about, states of the sources, and what is said when nothing can be opened."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from tui_stage import NOW, T5, FakeSession, facts, make_app, opened, shown, text_of, until

from cockpit.errors import Forbidden, NoKubeconfig, NotServed, Unreachable
from cockpit.model import Condition, Node, NodeName
from cockpit.store import Failed, Synced, Upsert


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def test_five_panes_tell_the_cluster_at_once() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        text = text_of(app)
        for title in ("1 Cluster", "2 Nodepools", "3 Jobs", "4 GPU", "5 EFA"):
            assert title in text
        assert "6 nodes · 16/24 GPU · $98.76/h" in text
        assert "✖ xid 79" in text and "▼ cordoned" in text
        assert "● training" in text and "16/16" in text and "1204/2000" in text and "1.873" in text
        assert "◌ provisioning" in text and "✖ failed" in text and "✔ succeeded" in text
        assert re.search(r"▲ Launched \d+m", text)
        assert "▲ 0.41 %" in text and "Gbps" in text
        assert "training-on-eks · us-west-2 · ns all · read-write · SIMULATED GPUs" in text
        assert "● live" in text
        assert "✖ ALERT 5" in shown(app)[1]


async def test_a_user_of_one_namespace_sees_what_is_not_seen() -> None:
    scoped = [Synced(name, scope="default") for name in ("pods", "events")]
    jobs = Synced("jobs", scope="default", unread=("trainjobs.trainer.kubeflow.org",))
    app = make_app([*facts(), *scoped, jobs])
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await opened(pilot)
        text = text_of(app)
        assert "3 Jobs ○ only ns default · trainjobs not listed ──" in text
        assert "1 Cluster ○ pods only of ns default ── 6 nodes · –/24 GPU" in text, "pods of others may hold GPUs too"
        assert "–/8" in text and "16/24" not in text
        app.fakes[0].store.apply(Failed("nodepools", Forbidden("no", "")))  # type: ignore[attr-defined]
        app.go("ns elsewhere")
        await until(pilot, lambda: "jobs of elsewhere are not read" in text_of(app) and "→ open it with -n elsewhere" in text_of(app))


async def test_what_may_not_be_read_is_said_once_and_quietly() -> None:
    given = [fact for fact in facts() if getattr(fact, "source", "") not in ("nodepools", "efa")]
    app = make_app([*given, *(Failed(name, Forbidden(f"{name} is forbidden", "")) for name in ("nodepools", "efa"))])
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        assert "○ forbidden: efa, nodepools" in shown(app)[0] and "down" not in shown(app)[0]
        assert "○ you may not list nodepools here" in text_of(app)


async def test_the_panes_give_their_columns_room_by_importance() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        heads = [line for line in shown(app) if "NODE" in line and "TYPE" in line]
        left = heads[0].split("││")[0]
        assert [word.strip("│↑") for word in left.split()][1:8] == ["NODE", "TYPE", "ZONE", "CAP", "GPU", "HEALTH", "$/H"]
        rows = shown(app)
        assert any("ip-10-0-4-89 " in line and " spot " in line for line in rows)
        mnist = next(line for line in rows if " mnist " in line)
        assert " 4 " in mnist.split("succeeded")[1] and "/4" not in mnist.split("succeeded")[1].split("9380")[0], "a job over is not short of ranks"
        efa = [line for line in rows if "ip-10-0-4-89 " in line][-1]
        assert " 32 " in efa and "devices" not in efa and "unresponsive peers" in efa
        titles = [line for line in rows if "4 GPU ──" in line]
        assert "…" not in titles[0]


@pytest.mark.parametrize("size", [(80, 24), (100, 28), (120, 36), (160, 46), (200, 60), (60, 15)])
async def test_every_size_fills_its_terminal_and_keeps_the_caution(size: tuple[int, int]) -> None:
    from rich.cells import cell_len

    app = make_app()
    async with app.run_test(size=size, notifications=True) as pilot:
        await opened(pilot)
        assert len(shown(app)) == size[1]
        assert {cell_len(line) for line in shown(app)} == {size[0]}
        assert "XID 79" in shown(app)[1]
        assert "SIMULATED GPUs" in shown(app)[0]


async def test_small_terminals_show_one_pane_with_tabs() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot)
        assert "▸1 Cluster" in shown(app)[0]
        assert "3 Jobs ──" not in text_of(app)
        await until(pilot, lambda: "training-on-eks · ns all" in text_of(app))
        await pilot.press("3")
        await until(pilot, lambda: "3 Jobs ──" in text_of(app) and "1 Cluster ──" not in text_of(app))
        assert "▸3 Jobs" in shown(app)[0]
        assert "training-on-eks · ns all" in text_of(app)
        await pilot.press("1", "0")
        await until(pilot, lambda: "training-on-eks · ns default" in text_of(app) and "no cluster" not in text_of(app))


async def test_large_terminals_have_the_heat_map_beside() -> None:
    app = make_app()
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await opened(pilot)
        assert "Heat map" in text_of(app)
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: "Heat map" not in text_of(app))


async def test_zoom_and_back() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("4", "z")
        await until(pilot, lambda: "Heat map" in text_of(app) and "5 EFA" not in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "5 EFA" in text_of(app))


async def test_down_from_pool_to_claim_to_node_and_up_again() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("2", "j", "enter")
        await until(pilot, lambda: "Nodepool gpu-efa" in text_of(app) and "p5.48xlarge" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Node ip-10-0-4-210" in text_of(app))
        text = text_of(app)
        assert "GPU 7" in text and "48 GiB of 80 GiB" in text and "t5-large-master-0" in text
        await pilot.press("escape")
        await until(pilot, lambda: "Nodepool gpu-efa" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "1 Cluster" in text_of(app))
        assert app.active == "nodepools" and app.panes["nodepools"].cursor == "gpu-efa"


async def test_down_from_job_to_ranks_to_log() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3", "j", "enter")
        await until(pilot, lambda: "Job t5-large" in text_of(app))
        text = text_of(app)
        assert "0-7" in text and "8-15" in text and "loss 1.8730 from 4.2000" in text
        await pilot.press("enter")
        await until(pilot, lambda: "step 199" in text_of(app))
        assert "␛[31mred" in text_of(app)
        await pilot.press("escape")
        await until(pilot, lambda: "Job t5-large" in text_of(app))


async def test_a_log_is_searched_and_follows_until_left() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3", "j", "L")
        await until(pilot, lambda: "— end —" in text_of(app) and "following" in text_of(app))
        await pilot.press("slash", *"step 17 ", "enter")
        await until(pilot, lambda: "1 matches" in text_of(app) and "step 17 loss" in text_of(app))
        assert "following" not in text_of(app)
        await pilot.press("t")
        await until(pilot, lambda: "00:00:17" in text_of(app))


async def test_describe_yaml_and_events_of_a_row() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        name = app.panes["cluster"].cursor
        app.fakes[0].kube.objects[f"/api/v1/nodes/{name}"] = {
            "kind": "Node",
            "metadata": {"name": name, "labels": {"a": "\x1b[31mb"}, "managedFields": [{"manager": "noise"}]},
            "spec": {"taints": [{"key": "nvidia.com/gpu"}]},
        }
        await pilot.press("y")
        await until(pilot, lambda: "kind: Node" in text_of(app))
        assert "noise" not in text_of(app) and "\x1b" not in text_of(app)
        await pilot.press("escape", "d")
        await until(pilot, lambda: "Describe" in text_of(app) and "XidError" in text_of(app))
        await pilot.press("escape", "e")
        await until(pilot, lambda: "Events of Node" in text_of(app) and "fallen off the bus" in text_of(app))
        await pilot.press("q", "j", "y")
        await until(pilot, lambda: "was not found" in text_of(app))


async def test_filter_narrows_in_place_and_esc_clears() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("slash", *"g6e", "enter")
        await until(pilot, lambda: "/g6e 2 of 6" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: "of 6" not in text_of(app))


async def test_faults_only_and_namespaces() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: "faults only 1 of 6" in text_of(app))
        await pilot.press("ctrl+z", "0")
        await until(pilot, lambda: "ns default" in text_of(app) and "bert-base" not in text_of(app))
        await pilot.press("0")
        await until(pilot, lambda: "bert-base" in text_of(app))


async def test_commands_complete_go_and_say_what_is_near() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("colon", *"po /t5", "enter")
        await until(pilot, lambda: "Pods ── /t5 2 of 5 ── 5 pods" in text_of(app))
        await pilot.press("colon", *"np", "enter")
        await until(pilot, lambda: "2 Nodepools" in text_of(app) and app.active == "nodepools")
        await pilot.press("colon", *"clos", "enter")
        await until(pilot, lambda: "did you mean close" in text_of(app))
        await pilot.press("colon", "up")
        await until(pilot, lambda: "clos" in shown(app)[-2])


@pytest.mark.parametrize("word", ["nc", "ev", "queues", "help", "history", "ctx", "events"])
async def test_every_word_opens_something(word: str) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go(word)
        titles = {"nc": "NodeClaims", "ev": "Events", "events": "Events", "queues": "Queues", "help": "Keys", "history": "History", "ctx": "Contexts"}
        await until(pilot, lambda: titles[word] in text_of(app))


async def test_help_lists_the_live_keys() -> None:
    app = make_app()
    async with app.run_test(size=(120, 60), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "Actions on Cluster" in text_of(app))
        text = text_of(app)
        assert "Close" in text and "asks y/n" in text and "Sort by next column" in text
        assert "Halt" not in text, "stopping a job does not apply to nodes"


async def test_the_palette_finds_actions() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+p")
        await pilot.press(*"fly")
        await until(pilot, lambda: "Fly  (l)" in text_of(app))


async def test_the_footer_shows_what_applies_to_the_row() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        assert "c close" in shown(app)[-1] and "halt" not in shown(app)[-1]
        await pilot.press("3")
        await until(pilot, lambda: "^d halt" in shown(app)[-1] and "c close" not in shown(app)[-1])


async def test_lost_connection_keeps_the_last_picture_and_recovers() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        store = app.fakes[0].store
        lost = Unreachable("no answer from https://127.0.0.1:1", "start it again")
        store.apply(Failed("api", lost), Failed("nodes", lost))
        await until(pilot, lambda: "connection lost" in shown(app)[1] and "nodes stale" in shown(app)[0] and "Cluster ▲ stale" in text_of(app))
        assert "ip-10-0-4-89" in text_of(app)
        store.apply(*(Failed(name, lost) for name in ("pods", "jobs", "gpus")))
        await until(pilot, lambda: "5 sources not live" in shown(app)[0])
        store.apply(*(Synced(name) for name in ("api", "nodes", "pods", "jobs", "gpus")))
        await until(pilot, lambda: "● live" in shown(app)[0] and "XID 79" in shown(app)[1])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotServed("nodepools.karpenter.sh is not served", "install Karpenter"), ("no Karpenter here", "→ install Karpenter")),
        (
            Forbidden("nodepools is forbidden", "ask for list"),
            ("you may not list nodepools here", "→ ask for list"),
        ),
        (Unreachable("no answer", "check the network"), ("cannot read nodepools", "→ check the network")),
    ],
)
async def test_a_pane_that_cannot_know_says_so(error: Any, words: tuple[str, str]) -> None:
    given = [one for one in facts() if not (hasattr(one, "source") and one.source == "nodepools")]
    app = make_app([*given, Failed("nodepools", error)])
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await until(pilot, lambda: all(word in text_of(app) for word in words))


async def test_where_nothing_may_be_read_nothing_is_called_well() -> None:
    app = make_app([Failed("nodes", Forbidden("nodes is forbidden")), Failed("jobs", Forbidden("pytorchjobs is forbidden"))])
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "jobs, nodes cannot be read: " in text_of(app))
        assert "nothing to caution about" not in text_of(app)


async def test_without_a_kubeconfig_it_offers_the_practice_cluster() -> None:
    asked: list[bool] = []

    def open_session(options: Any, on_change: Any) -> FakeSession:
        asked.append(options.sim)
        if not options.sim:
            raise NoKubeconfig("no kubeconfig: tried $KUBECONFIG, ~/.kube/config and the pod's own", "aws eks update-kubeconfig --name NAME")
        return FakeSession(on_change)

    app = make_app(open_session=open_session)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "No cluster yet" in text_of(app))
        assert "~/.kube/config" in text_of(app) and "aws eks update-kubeconfig" in text_of(app)
        await pilot.press("r")
        await until(pilot, lambda: len(asked) == 2 and "No cluster yet" in text_of(app))
        await pilot.press("p")
        await opened(pilot)
        assert asked == [False, False, True]


async def test_quitting_takes_two_presses_and_lets_go() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("q")
        await until(pilot, lambda: "q again quits" in text_of(app))
        await pilot.press("q")
    assert app.fakes[0].closed and app.return_value == 0


async def test_hostile_names_are_inert_everywhere() -> None:
    evil = "\x1b]0;owned\x07[bold red]\u202enode"
    bad = Node(NodeName(evil), "1", evil, evil, evil, evil, evil, ready=False, problems=(Condition("Ready", "False", evil, evil),), created=NOW)
    app = make_app([*facts(), Upsert("nodes", "nodes", (bad,))])
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await opened(pilot)
        app.panes["cluster"].filter("owned")
        await pilot.press("enter")
        await until(pilot, lambda: "Node ␛]0;owned␇[bold red]�node" in text_of(app))
        await pilot.press("escape", "c")
        await until(pilot, lambda: "Close" in text_of(app))
        assert not any(letter in text_of(app) for letter in "\x1b\x07\u202e")


async def test_what_is_shown_is_saved(tmp_path: Any) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "saved 7 lines" in text_of(app))
        (saved,) = (tmp_path / "cockpit" / "saved").iterdir()
        assert "p5.48xlarge" in saved.read_text()


async def test_changes_reach_the_screen_and_time_alone_does_not_repaint() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        store, jobs = app.fakes[0].store, app.panes["jobs"]
        old = store.snapshot().progress[T5]
        store.apply(Upsert("progress", "progress", (type(old)(T5, 1300, 2000, 1.5, 4.2, old.losses, at=time.time()),)))
        await until(pilot, lambda: "1300/2000" in text_of(app))
        painted = jobs.lines_painted
        store.apply(Upsert("progress", "progress", ()), Upsert("nodes", "nodes", ()))
        for _ in range(10):
            await pilot.pause(0.02)
        assert jobs.lines_painted == painted


async def test_contexts_of_the_kubeconfig_can_be_chosen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("contexts: [{name: west, context: {cluster: c, user: u}}, {name: east, context: {cluster: c, user: u}}]\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go("ctx")
        await until(pilot, lambda: "east" in text_of(app) and "west" in text_of(app) and "training" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: len(app.fakes) == 2 and app.fakes[0].closed)
        assert app.options.context == "east"
        await opened(pilot)


async def test_a_fault_of_our_own_is_told_and_the_screen_goes_on() -> None:
    def open_session(options: Any, on_change: Any) -> FakeSession:
        raise RuntimeError("secret detail")

    app = make_app(open_session=open_session)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: "RuntimeError" in text_of(app))
        assert "secret detail" not in text_of(app)
        await pilot.press("2")
        await until(pilot, lambda: app.active == "nodepools")
