# SPDX-License-Identifier: Apache-2.0
class BooksController < ApplicationController
  before_action :require_user, only: [:new, :create]

  def index
    @books = Book.order(id: :desc).limit(20)
  end

  def show
    @book = Book.find(params[:id])
  end

  def new
  end

  def create
    redirect_to book_path(known || added)
  rescue ActiveRecord::RecordNotUnique
    redirect_to book_path(known)
  end

  private

  # A key that is there already: the same form once more.
  def known
    Book.find_by(request_id: params[:request_id])
  end

  def added
    # A form that was loaded on v1, and held while the site was upgraded, has the old name.
    author = params[Book::AUTHOR] || params[:author]
    Book.transaction do
      book = Book.create!(request_id: params[:request_id], title: params[:title], Book::AUTHOR => author, cover: kept_cover)
      Job.create!(name: "index #{book.id}")
      book
    end
  end

  def kept_cover
    return "" unless params[:cover]
    "#{params[:request_id].delete("^0-9a-f-")}.svg".tap do |name|
      File.binwrite(Rails.root.join("media", name), params[:cover].read)
    end
  end
end
