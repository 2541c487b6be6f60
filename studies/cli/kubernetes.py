"""Write a manifest for Kubernetes with KubeRay: a RayJob that starts a Ray cluster, runs the study and takes it down.

The image needs nde-study with its extra `studies`, the version of Ray that is installed here, and the data. The head
mounts a volume, at /shared say, where the studies are kept; a spec of your own, with the files that it names, is to lie
there.
"""

import argparse
from pathlib import Path, PurePosixPath

from studies.arguments import matching, whole_number
from studies.cli.job_options import add_job, loaded, run_command, write
from studies.nodes import Nodes
from studies.ray_job import Pods, ray_job
from studies.spec_search import no_fronts

EXAMPLES = """  nde-study kubernetes quickstart --workers 4 --image registry/nde:1 --claim studies -o quickstart.yaml
  nde-study kubernetes my_study.yaml --workers 2 --cpus 8 --gpus 1 --memory 32Gi --image nde:1 --claim studies"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_job(parser)
    word = matching(r"\S+", "a word")
    parser.add_argument("--workers", type=whole_number(1), required=True, metavar="N", help="pods that trials run in")
    parser.add_argument("--image", type=word, required=True, help="of all pods")
    claim = matching(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "a name of Kubernetes: small letters, digits, - and .")
    parser.add_argument("--claim", type=claim, required=True, help="name of the volume claim that the head mounts")
    mount = matching(r"/\S*", "an absolute path without spaces")
    parser.add_argument("--mount", type=mount, default="/shared", metavar="PATH", help="where (default: /shared)")
    parser.add_argument("--cpus", type=whole_number(1), default=2, metavar="C", help="of each worker (default: 2)")
    parser.add_argument("--gpus", type=whole_number(0), default=0, metavar="G", help="of each worker (default: 0)")
    memory = matching(r"\d+(\.\d+)?([KMGTP]i?)?", "a quantity such as 8Gi")
    parser.add_argument("--memory", type=memory, default="8Gi", metavar="SIZE", help="of each pod (default: 8Gi)")


def main(args: argparse.Namespace) -> int:
    """Write the manifest."""
    spec, path = loaded(args, no_fronts)
    mount = PurePosixPath(args.mount)
    there = path if path is None else Path(mount / path.name)
    run = run_command(args, there, Path(mount / "nde-runs"))
    pods = Pods(args.image, args.memory, args.claim, str(mount))
    manifest = ray_job(spec, run, Nodes(args.workers, args.cpus, args.gpus), pods)
    if there is not None:
        manifest = f"# In the volume {args.claim}, {there} is {path}, with the files that it names.\n{manifest}"
    return write(manifest, args.output, "kubectl apply -f")
