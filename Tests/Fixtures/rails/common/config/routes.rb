# SPDX-License-Identifier: Apache-2.0
Rails.application.routes.draw do
  root "books#index"
  resources :books, only: :show
  get "add", to: "books#new"
  post "add", to: "books#create"
  get "login", to: "sessions#new"
  post "login", to: "sessions#create"
  get "healthz", to: "health#database"
  get "livez", to: "health#alive"
end
