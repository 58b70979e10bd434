import subprocess
import sys


def test_the_models_load_neither_ray_nor_the_search():
    code = (
        "import sys, pkgutil, importlib, emgmodels\n"
        "for module in pkgutil.walk_packages(emgmodels.__path__, 'emgmodels.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'ray', 'search', 'optuna', 'matplotlib'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
