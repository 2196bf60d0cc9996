# SPDX-License-Identifier: Apache-2.0
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Book", [
            ("id", models.BigAutoField(primary_key=True)),
            ("request_id", models.UUIDField(unique=True)),
            ("title", models.CharField(max_length=200)),
            ("author", models.CharField(max_length=200)),
            ("cover", models.FileField(upload_to="covers", blank=True)),
            ("added", models.DateTimeField(auto_now_add=True))]),
        migrations.CreateModel("Job", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=100)),
            ("done_by", models.CharField(max_length=100, blank=True)),
            ("done_at", models.DateTimeField(null=True))]),
    ]
