# SPDX-License-Identifier: Apache-2.0
from django.apps import AppConfig


class ShelfConfig(AppConfig):
    name = "shelf"
