"""What answers.py does with a registered model, with a pipeline of this file (`--model models:/toy/N`); 9 does not load."""

import importlib.util
import json
import os
import sys
import threading
import time
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[3] / "components/engines/tracking/answers.py"


class Pipeline:
    """`die` ends the process, `sleep S` takes its time, `environment NAME` tells a variable."""

    def predict(self, inputs, **options):
        return [{"output": self.one(one["text"])} for one in inputs]

    def one(self, text):
        word, _, rest = text.partition(" ")
        if word == "die":
            os._exit(7)
        if word == "sleep":
            time.sleep(float(rest))
        return os.environ.get(rest, "not there") if word == "environment" else text.upper()

    def stream(self, one, **options):
        for word in one["text"].split():
            yield {"piece": self.one(word)}
            time.sleep(0.05)
        yield {"output": one["text"].upper()}


def main():
    place = importlib.util.spec_from_file_location("answers", PROGRAM)
    program = importlib.util.module_from_spec(place)
    place.loader.exec_module(program)
    version = int(sys.argv[-1].rpartition("/")[2])
    if version == 9:
        print("a library complains\nerror: its files are not those that were registered", file=sys.stderr)
        sys.exit(5)
    fields, gives = {"text": "string"}, {"output": "string"}
    facts = {"version": version, "fields": fields, "gives": gives, "options": [], "streams": True}
    print(json.dumps({"ready": facts}), flush=True)
    server = program.Server(Pipeline(), fields, gives, sys.stdout)
    threading.Thread(target=server.read, args=(sys.stdin.buffer,), daemon=True).start()
    server.run()
    os._exit(0)


if __name__ == "__main__":
    main()
