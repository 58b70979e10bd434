"""This project's search beside those of other libraries, on recorded trainings and on real ones.

python -m benchmarks run searchers --venvs DIR --record
python -m benchmarks run searchers_unseen --venvs DIR --record
python -m benchmarks run searchers_live --venvs DIR --keep DIR --repeats 9 --threads 1 --record

``problem`` and the modules named after a library run in that library's own virtual environment, so
they import nothing of this project but ``problem`` and ``asked``.
"""
