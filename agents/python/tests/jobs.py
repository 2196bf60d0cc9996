# SPDX-License-Identifier: Apache-2.0
"""What the worker of test_celery.py runs."""

import os

from celery import Celery

import database

folder = os.environ["JOBS_FOLDER"]
app = Celery("jobs", task_cls="sluice_mode.celery:Task", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": folder + "/queue", "data_folder_out": folder + "/queue", "store_processed": False,
    # The file that keeps two from taking one message.
    "control_folder": folder + "/control", "data_folder": folder}


@app.task(look_again_after=0.2)
def add(text):
    with open(folder + "/begun", "a", encoding="utf-8") as file:
        file.write(text + "\n")
    database.run("INSERT INTO note (text) VALUES ('%s')" % text)
