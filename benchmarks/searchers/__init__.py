"""This project's search beside those of other libraries, on recorded trainings.

python -m benchmarks run searchers --venvs DIR --record

``problem`` and the modules named after a library run in that library's own virtual environment, so
they import nothing of this project but ``problem``.
"""
