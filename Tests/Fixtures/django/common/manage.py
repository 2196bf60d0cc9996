#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshelf.settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
