# SPDX-License-Identifier: Apache-2.0
from django.db import migrations, models
from django.utils.text import slugify


def fill(apps, _):
    Book = apps.get_model("shelf", "Book")
    for book in Book.objects.iterator():
        book.slug = slugify("%d %s" % (book.id, book.title))
        book.save(update_fields=["slug"])


class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [
        migrations.RenameField("Book", "author", "written_by"),
        migrations.AddField("Book", "slug", models.CharField(max_length=220, default="")),
        migrations.CreateModel("Loan", [
            ("id", models.BigAutoField(primary_key=True)),
            ("book", models.ForeignKey("shelf.Book", on_delete=models.CASCADE)),
            ("reader", models.CharField(max_length=200))]),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
