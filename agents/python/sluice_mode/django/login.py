# SPDX-License-Identifier: Apache-2.0
"""`last_login` is written by whatever logs somebody in, also with a GET (a remote user, a link): left out while read-only."""


def leave_out_last_login():
    from django.apps import apps
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth.models import update_last_login
    from django.contrib.auth.signals import user_logged_in
    from . import unless_read_only
    if user_logged_in.disconnect(dispatch_uid="update_last_login"):
        user_logged_in.connect(unless_read_only(update_last_login), dispatch_uid="update_last_login", weak=False)
