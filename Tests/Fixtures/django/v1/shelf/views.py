# SPDX-License-Identifier: Apache-2.0
import uuid

from django import forms
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render

from shelf.models import Book, Job


class BookForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["request_id", "title", "author", "cover"]


def books(request):
    return render(request, "shelf/books.html", {"books": Book.objects.order_by("-id")[:20]})


def book(request, book):
    return render(request, "shelf/book.html", {"book": get_object_or_404(Book, id=book)})


@login_required
def add(request):
    form = BookForm(request.POST or None, request.FILES or None, initial={"request_id": uuid.uuid4()})
    if request.method == "POST":
        # A key that is there already: the same form once more.
        known = Book.objects.filter(request_id=request.POST.get("request_id") or None).first()
        if known:
            return HttpResponseRedirect("/books/%d/" % known.id)
        if form.is_valid():
            try:
                with transaction.atomic():
                    saved = form.save()
                    Job.objects.create(name="index %d" % saved.id)
            except IntegrityError:
                saved = Book.objects.get(request_id=form.cleaned_data["request_id"])
            return HttpResponseRedirect("/books/%d/" % saved.id)
    return render(request, "shelf/add.html", {"form": form}, status=400 if request.method == "POST" else 200)


def healthz(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(author) FROM shelf_book")
    return HttpResponse("ok\n", content_type="text/plain")


def livez(request):
    return HttpResponse("ok\n", content_type="text/plain")
