"""A real Ray cluster of two nodes on this machine: a node is killed in the middle, and nothing is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from moebook.errors import InputError
from moebook.runs import Store
from moebook.study import Job, open_study, run_trunks
from moebook.study.claims import holders

ray = pytest.importorskip("ray", reason="needs ray: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow

from ray.cluster_utils import Cluster  # noqa: E402

from moebook.study.ray import RayPool, connect  # noqa: E402


@pytest.fixture(scope="module")
def environment():
    """What Ray's nodes are started with: no report to its makers, no token that an earlier cluster left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_health_check_period_ms", "1000")
        yield


@pytest.fixture
def cluster(environment, cache):
    """A head that computes nothing, for the driver, and two nodes of one core each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made, [made.add_node(num_cpus=1) for _ in range(2)]
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny):
    path = tmp_path_factory.mktemp("study") / "tiny.yml"
    path.write_text(tiny.replace("[1e8, 3e8]", "[3e8, 1.2e9]"))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, study, text_folder):
    """Losses of the study, trained by this machine's processes."""
    runs = tmp_path_factory.mktemp("undisturbed")
    opened = open_study(str(study), text_folder, runs)
    job = Job(opened.study.name, opened.study.text, text_folder, runs, runs / "work")
    run_trunks(opened.missing(), opened.costs(2).trunk_seconds, job, 2)
    return losses(runs)


def losses(runs):
    return {record.key: record.measures.get("loss_nats") for record in Store(runs).load()}


def steps_kept(work, name):
    """The step of a trunk's checkpoint before its decays; 0 where there is none, or no more."""
    try:
        return json.loads((work / name / "trunk.json").read_text())["state"]["step"]
    except FileNotFoundError:
        return 0


def test_a_node_killed_in_the_middle_loses_no_run_and_no_checkpoint(
    cluster, study, undisturbed, text_folder, tmp_path
):
    made, nodes = cluster
    opened = open_study(str(study), text_folder, tmp_path)
    runs, work = tmp_path, tmp_path / "work"
    job = Job(opened.study.name, opened.study.text, text_folder, runs, work, checkpoint_seconds=0.0)
    killed, said, resumed = {}, [], {}
    last = {trunk.name: trunk.recipe.decay_start(trunk.cells[-1].steps) for trunk in opened.trunks}

    def kill_a_node(state, news):
        said.append(news)
        for name, running in state.running.items():
            if not killed and running.steps_done > 20 and steps_kept(job.work, name) > 20:
                pid = holders(job.work)[name].values["pid"]
                node = next(n for n in nodes if is_child(pid, n))
                made.remove_node(node, allow_graceful=False)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # as with its node: Ray would leave it a few seconds more
                killed[name] = steps_kept(job.work, name)
        for name in killed:  # its claim tells of steps every five seconds only, its checkpoint of each
            if any(line.startswith("lost") for line in said) and (kept := steps_kept(work, name)):
                resumed.setdefault(name, []).append(kept)

    state = run_trunks(
        opened.missing(), opened.costs(2).trunk_seconds, job, 0, 300, kill_a_node,
        lambda job, workers: RayPool(job, workers, made.address),
    )  # fmt: skip
    assert killed and sum(line.startswith("lost") for line in said) == 1, said
    assert not state.failures and not state.stopped and state.left == 0
    assert sum(line.startswith("done") for line in said) == 6
    assert losses(tmp_path) == undisturbed and Store(tmp_path).check() == []
    for name, first in killed.items():
        assert name in resumed or first == last[name]  # there was more to do, and it was seen being done
        assert all(kept >= first for kept in resumed.get(name, ()))
    assert not holders(job.work)


def is_child(pid, node):
    """Whether a process is of a node: its raylet is an ancestor."""
    raylets = {info.process.pid for infos in node.all_processes.values() for info in infos}
    while pid > 1:
        if pid in raylets:
            return True
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return False


def test_a_killed_driver_is_taken_up_again_and_two_share_the_work(
    cluster, study, undisturbed, text_folder, tmp_path
):
    made, _ = cluster
    line = [
        sys.executable, "-m", "moebook", "study", "run", study, "--folder", text_folder, "--runs", tmp_path,
        "--on", "ray", "--address", made.address, "--checkpoint-seconds", "0",
    ]  # fmt: skip

    def drive():
        return subprocess.Popen(
            list(map(str, line)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    first = drive()
    end = time.monotonic() + 120
    while not holders(tmp_path / "work"):
        assert time.monotonic() < end and first.poll() is None, first.communicate()
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    drivers = [drive(), drive()]
    ends = [driver.communicate(timeout=300) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], ends
    assert losses(tmp_path) == undisturbed and Store(tmp_path).check() == []


def test_a_cluster_of_this_machine_alone_is_started_and_ends_with_the_drive(
    environment, study, undisturbed, text_folder, tmp_path
):
    line = [
        sys.executable, "-m", "moebook", "study", "run", study, "--folder", text_folder, "--runs", tmp_path,
        "--on", "ray", "--workers", "2", "--only", "width=16", "--json",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=300)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["done"] == 2 and report["missing"] == 0
    assert losses(tmp_path).items() <= undisturbed.items()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1", "here:there"])
def test_an_address_where_no_cluster_answers_is_refused_at_once(environment, address):
    with pytest.raises(InputError, match=f"--address: {address}: "):
        connect(address)
